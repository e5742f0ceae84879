"""Charts of numbers: IoU per class, weak against full supervision, losses, confusion, costs, clusters, nouns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from pcc.figures.canvas import COLOURS, DPI, LABEL, LEGEND, SMALL, finish, heat_table, legend_name, new_figure, tidy

MOST_SERIES = len(COLOURS)
CLASSES_PER_PANEL = 27
MOST_LABELS = 120  # a co-association map of more names is drawn without them
# Steps and losses.
Line = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def nothing(message: str) -> Figure:
    """A figure with a message in place of a chart."""
    figure, (axes,) = new_figure()
    axes.set_axis_off()
    return finish(figure, message, 4.0, 0.2)


def bars_per_class(
    names: Sequence[str], series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str
) -> Figure:
    """IoU of each class, one bar per series, with ± one standard deviation.

    Args:
        names: classes; long lists are split into panels side by side.
        series: name → (means, deviations) in [0, 1]; NaN draws nothing.
        title: heading.
    """
    panels = np.array_split(np.arange(len(names)), -(-len(names) // CLASSES_PER_PANEL))
    figure, grid = new_figure(len(panels), len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        parts = {name: np.asarray(pair, dtype=float)[:, panel] for name, pair in series.items()}
        _grouped_bars(axes, [names[i] for i in panel], parts, 0.11)
        axes.set_ylim(grid[0].get_ylim())
        axes.set_xlabel("IoU (%)", fontsize=LABEL)
    return finish(figure, title, 5.0 if len(panels) == 1 else 3.0, grid[0].get_ylim()[0], legend=True)


def weak_full(rows: Sequence[tuple[str, float, float, float, float]]) -> Figure:
    """Weak against full supervision: two bars per experiment and their ratio.

    Args:
        rows: experiment, weak mIoU and its deviation, full mIoU and its deviation, in [0, 1].
    """
    names, weak, weak_sd, full, full_sd = zip(*rows, strict=True)
    figure, (axes,) = new_figure()
    pairs = {"image-level labels": (weak, weak_sd), "ground-truth masks": (full, full_sd)}
    _grouped_bars(axes, names, {name: np.asarray(pair) for name, pair in pairs.items()}, 0.2)
    for y, ratio in zip(axes.get_yticks(), np.divide(weak, full), strict=True):
        axes.text(102, y, f"{100 * ratio:.1f} %", va="center", fontsize=LABEL, weight="bold")
    axes.text(102, -0.08, "weak / full", fontsize=SMALL, color="#444444")
    axes.set_xlabel("mean IoU (%)", fontsize=LABEL)
    return finish(figure, "Image-level labels against ground-truth masks", 4.2, axes.get_ylim()[0], legend=True)


def _grouped_bars(axes: Axes, names: Sequence[str], series: Mapping[str, np.ndarray], bar: float) -> None:
    """Horizontal bars of (means, deviations), from 0 to 100 %; the y axis is in inches, ``bar`` for each bar."""
    starts = (bar * len(series) + 0.1) * np.arange(len(names))
    for place, (name, (means, deviations)) in enumerate(series.items()):
        axes.barh(
            starts + place * bar,
            100 * means,
            0.9 * bar,
            align="edge",
            color=COLOURS[place],
            xerr=100 * np.nan_to_num(deviations),
            error_kw={"elinewidth": 0.7, "ecolor": "#222222"},
            label=legend_name(name),
        )
    axes.set_yticks(starts + bar * len(series) / 2, names)
    axes.set(xlim=(0, 100), ylim=(starts[-1] + bar * len(series) + 0.05, -0.05))
    tidy(axes, bars=True)


def curves(panels: Mapping[str, Mapping[str, Line]], title: str) -> Figure:
    """Losses by step, one panel each: smoothed lines over the faint raw ones.

    Args:
        panels: panel title → {line name: (steps, losses)}.
        title: heading.
    """
    figure, grid = new_figure(len(panels), columns=3)
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        for place, (line, (steps, values)) in enumerate(lines.items()):
            colour, dashes = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
            axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.25)
            smoothed = smooth(np.asarray(values, dtype=float))
            axes.plot(steps, smoothed, linewidth=1.4, label=legend_name(line), color=colour, linestyle=dashes)
        axes.set_title(name, loc="left", fontsize=LABEL)
        axes.set_xlabel("step", fontsize=SMALL)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.locator_params(axis="x", nbins=5, integer=True)
        tidy(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), labelspacing=0.25, **LEGEND)
    return finish(figure, title, 3.3, 2.1)


def smooth(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Running mean over a twentieth of the steps, fewer at both ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Figure:
    """Share of each ground-truth class (row) by predicted class (column); classes without pixels are left out."""
    counts = np.asarray(matrix, dtype=float)
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    counts = counts[np.ix_(kept, kept)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few, ticks = len(kept) <= 40, [names[i] for i in kept]
    texts = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in shares]
    figure, (axes,) = new_figure()
    heat_table(axes, shares, texts if few else [], ticks, ticks)
    axes.tick_params(axis="x", rotation=90)
    axes.set_ylabel("ground truth", fontsize=SMALL)
    axes.set_xlabel("prediction (% of ground truth)", fontsize=SMALL)
    side = max(len(kept) * (0.36 if few else 0.2), 1.8)
    return finish(figure, title, side, side)


def costs(table: pd.DataFrame) -> Figure:
    """Run time, peak memory and disk use of each stage, as three panels of bars.

    Args:
        table: a row per stage: ``seconds``, ``peak_memory_mb``, ``disk_mb``; NaN draws nothing.
    """
    panels = {
        "total minutes": table["seconds"] / 60,
        "peak memory per job, GB": table["peak_memory_mb"] / 1000,
        "disk, MB": table["disk_mb"],
    }
    figure, grid = new_figure(len(panels), len(panels))
    for number, (axes, (name, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        bars = axes.barh(range(len(table)), values.to_numpy(), 0.7, color=COLOURS[number])
        texts = [f" {v:.0f}" if v >= 10 else f" {v:.2g}" if v > 0 else "" for v in values]
        axes.bar_label(bars, texts, fontsize=SMALL)
        axes.set_yticks(range(len(table)), table.index if number == 0 else [])
        axes.set_title(name, fontsize=SMALL, loc="left")
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.margins(x=0.22)
        tidy(axes, bars=True)
    return finish(figure, "Cost by stage", 1.9, 0.2 * len(table))


def partition(clusters: Mapping[str, Sequence[str]], title: str, columns: int = 5) -> Figure:
    """Clusters as boxes of class names."""
    sizes = [len(members) for members in clusters.values()]
    heights = [0.1 + 0.16 * max(sizes[i : i + columns]) for i in range(0, len(sizes), columns)]
    figure, grid = new_figure(len(sizes), columns, row_gap=0.2, height_ratios=heights)
    texts = []
    for number, (axes, (name, members)) in enumerate(zip(grid, clusters.items(), strict=True)):
        axes.set(xticks=[], yticks=[], facecolor="#f7f7f7")
        axes.spines[:].set_color(COLOURS[number % 7])
        axes.spines["top"].set_linewidth(4)
        heading = axes.set_title(f"{name}  ({len(members)})", loc="left", fontsize=LABEL, weight="bold")
        text = axes.annotate("\n".join(members), (0, 1), (6, -6), "axes fraction", "offset points", va="top")
        text.set(fontsize=SMALL, linespacing=1.45)
        texts += [heading, text]
    width = max(1.75, *(text.get_window_extent().width / DPI + 0.15 for text in texts))
    return finish(figure, title, width, sum(heights) / len(heights))


def co_association_map(
    together: Float[np.ndarray, "n n"], tree: Float[np.ndarray, "m 4"], names: Sequence[str], cut: float, title: str
) -> Figure:
    """Heat map of how often names share a cluster, under its tree and the cut that gives the consensus.

    Args:
        together: shares in [0, 1].
        tree: `pcc.clusters.partition.tree` of it; two names or more.
        names: of the rows and columns.
        cut: distance at which the tree is cut.
        title: heading.
    """
    drawn = dendrogram(tree, no_plot=True)
    side = max(0.15 * min(len(names), MOST_LABELS), 2.4)
    order, heights = drawn["leaves"], (1.1, side, 0.12)
    figure, (branches, cells, bar) = new_figure(3, height_ratios=heights)
    lines = np.transpose([drawn["icoord"], drawn["dcoord"]], (0, 2, 1))
    branches.plot(*lines, color="#333333", linewidth=0.8)
    branches.axhline(cut, color=COLOURS[5], linestyle="--", linewidth=1)
    branches.text(10 * len(names), cut, " cut", va="center", color=COLOURS[5], fontsize=SMALL)
    branches.set(xlim=(0, 10 * len(names)), ylim=(0, 1.08), xticks=[])
    branches.set_yticks([0, 0.5, 1], ["1", "½", "0"], fontsize=SMALL)
    branches.set_ylabel("together", fontsize=SMALL)
    branches.spines[["top", "right", "bottom"]].set_visible(False)
    shown = [names[i] for i in order] if len(names) <= MOST_LABELS else []
    heat_table(cells, together[np.ix_(order, order)], [], shown, shown, "viridis")
    cells.tick_params(axis="x", rotation=90, labelbottom=True, labeltop=False)
    figure.colorbar(cells.images[0], cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.set_xlabel("share of samples with both in one cluster", fontsize=SMALL)
    bar.tick_params(labelsize=SMALL, length=2, pad=1)
    return finish(figure, title, side, sum(heights) / 3)


def nearest_nouns(rows: Sequence[tuple[str, float, Sequence[tuple[str, float]]]], title: str) -> Figure:
    """One row per class: cosine of its prompt to its own name and to the nearest nouns, darker where higher.

    Args:
        rows: class, cosine to its own name, (noun, cosine) pairs; equally many for each class.
        title: heading.
    """
    values = np.array([[own, *(cosine for _, cosine in found)] for _, own, found in rows])
    texts = [[f"{own:.2f}", *(f"{noun} {cosine:.2f}" for noun, cosine in found)] for _, own, found in rows]
    columns = ["own name", *map(str, range(1, values.shape[1]))]
    figure, (axes,) = new_figure()
    cell = 0.15 + heat_table(axes, values, texts, [name for name, _, _ in rows], columns)
    axes.spines[:].set_visible(False)
    return finish(figure, title, len(columns) * cell, 0.27 * len(rows))
