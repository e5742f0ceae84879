"""How sure a grouping of names is: co-association of several samples, ordered by its own tree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from pcc.figures.canvas import COLOURS, TEXT, label_length, new_figure

MOST_LABELS = 120  # more names than this are drawn without them
CELL, TREE = 0.15, 1.1  # inches


def co_association_map(
    together: Float[np.ndarray, "n n"], tree: Float[np.ndarray, "m 4"], names: Sequence[str], cut: float, title: str
) -> Figure:
    """Heat map of how often names share a cluster, its tree above, and the cut that gives the consensus.

    Args:
        together: shares in [0, 1].
        tree: `pcc.clusters.partition.tree` of it; two names or more.
        names: row by row.
        cut: height of the cut, as a distance.
        title: the line above all.
    """
    drawn = dendrogram(tree, no_plot=True)
    order, labelled = drawn["leaves"], len(names) <= MOST_LABELS
    side = max(CELL * min(len(names), MOST_LABELS), 1.8)
    label = label_length(names) if labelled else 0.0
    figure = new_figure(max(side + label + 0.8, 5.5), TREE + side + label + 1.4, title)
    branches, cells = figure.subplots(2, height_ratios=[TREE, side])
    for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        branches.plot(x, y, color="#333333", linewidth=0.8)
    branches.axhline(cut, color=COLOURS[5], linestyle="--", linewidth=1)
    branches.text(0, cut + 0.03, " cut", color=COLOURS[5], fontsize=TEXT["small"])
    branches.set(xlim=(0, 10 * len(names)), ylim=(0, 1.08), xticks=[], yticks=[0, 0.5, 1], yticklabels=["1", "½", "0"])
    branches.set_ylabel("together", fontsize=TEXT["small"])
    branches.tick_params(labelsize=TEXT["small"])
    branches.spines[["top", "right", "bottom"]].set_visible(False)
    heat = together[np.ix_(order, order)]
    image = cells.imshow(heat, cmap="viridis", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    shown = [names[i] for i in order] if labelled else []
    cells.set_xticks(range(len(shown)), shown, rotation=90, fontsize=TEXT["small"])
    cells.set_yticks(range(len(shown)), shown, fontsize=TEXT["small"])
    cells.tick_params(length=0, pad=2)
    bar = figure.colorbar(image, ax=cells, location="bottom", ticks=[0, 0.5, 1], shrink=0.5, aspect=30)
    bar.set_label("share of samples that put both into one cluster", fontsize=TEXT["small"])
    bar.ax.tick_params(labelsize=TEXT["small"], length=2, pad=1)
    return figure
