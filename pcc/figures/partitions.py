"""How sure a grouping of names is: co-association of several samples, ordered by its own tree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from pcc.figures.canvas import COLOURS, TEXT, axes_at, new_figure, text_at

MOST_LABELS = 120  # more names than this are drawn without them
CELL, TREE, LEFT, TOP, FOOT = 0.15, 1.1, 1.5, 0.5, 1.15


def co_association_map(
    together: Float[np.ndarray, "n n"],
    tree: Float[np.ndarray, "m 4"],
    names: Sequence[str],
    cut: float,
    title: str,
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
    order = drawn["leaves"]
    side = max(CELL * min(len(names), MOST_LABELS), 1.8)
    labelled = len(names) <= MOST_LABELS
    left = LEFT if labelled else 0.4
    figure = new_figure(max(left + side + 0.4, 5.5), TOP + TREE + side + (FOOT if labelled else 0.2) + 0.5)
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    branches = axes_at(figure, left, TOP, side, TREE)
    for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        branches.plot(x, y, color="#333333", linewidth=0.8)
    branches.axhline(cut, color=COLOURS[5], linestyle="--", linewidth=1)
    branches.text(0, cut + 0.03, " cut", color=COLOURS[5], fontsize=TEXT["small"])
    branches.set(
        xlim=(0, 10 * len(names)), ylim=(0, 1.08), xticks=[], yticks=[0, 0.5, 1], yticklabels=["1", "½", "0"]
    )
    branches.set_ylabel("together", fontsize=TEXT["small"])
    branches.tick_params(labelsize=TEXT["small"])
    branches.spines[["top", "right", "bottom"]].set_visible(False)
    cells = axes_at(figure, left, TOP + TREE + 0.05, side, side)
    image = cells.imshow(
        together[np.ix_(order, order)], cmap="viridis", vmin=0, vmax=1, interpolation="nearest"
    )
    cells.set(xticks=[], yticks=[])
    if labelled:
        shown = [names[i] for i in order]
        cells.set_xticks(range(len(names)), shown, rotation=90, fontsize=TEXT["small"])
        cells.set_yticks(range(len(names)), shown, fontsize=TEXT["small"])
        cells.tick_params(length=0, pad=2)
    bar = axes_at(figure, 0.15, figure.get_size_inches()[1] - 0.35, 1.5, 0.12)
    figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=TEXT["small"], length=2, pad=1)
    text_at(
        figure,
        1.75,
        figure.get_size_inches()[1] - 0.37,
        "share of samples that put both into one cluster",
        fontsize=TEXT["small"],
    )
    return figure
