"""Charts of numbers: bars per class, weak against full supervision, loss curves, confusion, partitions."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pcc.figures.canvas import COLOURS, TEXT, label_length, new_figure, tidy

MOST_SERIES = len(COLOURS)
CLASSES_PER_PANEL = 27
# Steps and losses.
Line = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
DEVIATION = {"elinewidth": 0.7, "ecolor": "#222222"}
LEGEND: dict[str, Any] = {"loc": "outside lower left", "frameon": False, "fontsize": TEXT["small"]}


def nothing(message: str) -> Figure:
    """A figure that says why there is none."""
    figure = new_figure(6.0, 1.2)
    figure.text(0.5, 0.5, message, ha="center", va="center", color="#444444", fontsize=TEXT["label"])
    return figure


def bars_per_class(
    names: Sequence[str], series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str
) -> Figure:
    """IoU of each class, one bar per series, with ± one standard deviation.

    Args:
        names: classes; long lists are cut into panels side by side.
        series: name → (means, deviations) in [0, 1]; NaN draws nothing.
        title: of the figure.
    """
    panels = [
        range(start, min(start + CLASSES_PER_PANEL, len(names))) for start in range(0, len(names), CLASSES_PER_PANEL)
    ]
    bar = 0.11
    group, legend = bar * len(series) + 0.1, 0.16 * len(series) + 0.1
    width, height = (5.2 if len(panels) == 1 else 3.2) + label_length(names), group * len(panels[0])
    figure = new_figure(len(panels) * width, 1.0 + height + legend, title)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for place, (name, (means, deviations)) in enumerate(series.items()):
            ax.barh(
                [row * group + place * bar for row in range(len(panel))],
                [100 * means[i] for i in panel],
                0.9 * bar,
                align="edge",
                color=COLOURS[place],
                xerr=[100 * np.nan_to_num(deviations[i]) for i in panel],
                error_kw=DEVIATION,
                label=name,
            )
        centres = [row * group + bar * len(series) / 2 for row in range(len(panel))]
        _percent(ax, centres, [names[i] for i in panel], "IoU (%)")
        ax.set_ylim(group * len(panels[0]) - 0.05, -0.05)
    figure.legend(*axes[0].get_legend_handles_labels(), **LEGEND)
    return figure


def weak_full(rows: Sequence[tuple[str, float, float, float, float]]) -> Figure:
    """Weak and full supervision: two bars per experiment and their ratio.

    Args:
        rows: experiment, weak mIoU and its deviation, full mIoU and its deviation, in [0, 1].
    """
    width = 5.5 + label_length([row[0] for row in rows])
    figure = new_figure(width, 1.5 + 0.52 * len(rows), "Weak and full supervision")
    axes = figure.subplots()
    for place, name in enumerate(("image-level labels", "ground-truth masks")):
        axes.barh(
            [row + 0.18 + 0.32 * place for row in range(len(rows))],
            [100 * r[1 + 2 * place] for r in rows],
            0.29,
            xerr=[100 * np.nan_to_num(r[2 + 2 * place]) for r in rows],
            align="edge",
            label=name,
            color=COLOURS[1 - place],
            error_kw=DEVIATION,
        )
    for row, (_, weak, _, full, _) in enumerate(rows):
        axes.text(102, row + 0.5, f"{100 * weak / full:.1f} %", va="center", fontsize=TEXT["label"], weight="bold")
    axes.text(102, -0.06, "weak / full", fontsize=TEXT["small"], color="#444444")
    _percent(axes, [row + 0.5 for row in range(len(rows))], [row[0] for row in rows], "mean IoU (%)")
    axes.set_ylim(len(rows), 0)
    figure.legend(ncols=2, **LEGEND)
    return figure


def _percent(axes: Axes, places: Sequence[float], names: Sequence[str], label: str) -> None:
    """Bars from 0 to 100 % with their names."""
    axes.set_yticks(places, names)
    axes.set_xlim(0, 100)
    axes.set_xlabel(label, fontsize=TEXT["label"])
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def curves(panels: Mapping[str, Mapping[str, Line]], title: str) -> Figure:
    """Losses by step, one panel each, smoothed lines over the faint raw ones.

    Args:
        panels: panel title → {line name: (steps, losses)}.
        title: of the figure.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(lines) for lines in panels.values())
    figure = new_figure(max(columns * 4.0, 5.5), 0.5 + rows * (2.8 + 0.15 * most), title)
    grid = [*figure.subplots(rows, columns, squeeze=False).flat]
    for axes, (name, lines) in zip(grid, panels.items(), strict=False):
        axes.set_title(name, loc="left", fontsize=TEXT["label"])
        for place, (line, (steps, values)) in enumerate(lines.items()):
            colour, dashes = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
            axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.25)
            smoothed = smooth(np.asarray(values, dtype=float))
            axes.plot(steps, smoothed, linewidth=1.4, label=line, color=colour, linestyle=dashes)
        axes.set_xlabel("step", fontsize=TEXT["small"])
        if axes.get_ylim()[0] > 0:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        tidy(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), frameon=False, fontsize=TEXT["small"])
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


def smooth(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Running mean over a twentieth of the steps, shorter at both ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Figure:
    """Shares of each true class (rows) by predicted class; classes neither true nor predicted are left out."""
    counts = np.asarray(matrix, dtype=float)
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    counts = counts[np.ix_(kept, kept)]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ticks = [names[i] for i in kept]
    side, label = (0.36 if len(kept) <= 40 else 0.2) * len(kept), label_length(ticks)
    figure = new_figure(max(side + label + 0.3, 4.0), side + label + 0.9, title)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(kept)), ticks, rotation=90, fontsize=TEXT["small"])
    axes.set_yticks(range(len(kept)), ticks, fontsize=TEXT["small"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    note = "rows: true class, columns: predicted; % of the true pixels"
    figure.supxlabel(note, x=0.02, ha="left", fontsize=TEXT["small"])
    for row, column in np.argwhere(shares >= 0.5) if len(kept) <= 40 else ():
        value = shares[row, column]
        colour = "white" if value > 55 else "#222222"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=TEXT["small"], color=colour)
    return figure


def costs(table: pd.DataFrame) -> Figure:
    """Minutes, peak memory and disk of each stage, as three panels of bars side by side.

    Args:
        table: a row per stage: ``seconds``, ``peak_memory_mb``, ``disk_mb``; NaN draws nothing.
    """
    panels = {
        "total minutes": table["seconds"] / 60,
        "peak memory of a job, GB": table["peak_memory_mb"] / 1000,
        "disk, MB": table["disk_mb"],
    }
    figure = new_figure(8.0, 1.1 + 0.2 * len(table), "Cost by stage")
    grid = figure.subplots(1, len(panels), sharey=True)
    for number, (axes, (name, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        bars = axes.barh(range(len(table)), values.to_numpy(), 0.7, color=COLOURS[number])
        axes.bar_label(bars, [f" {v:.2g}" if v > 0 else "" for v in values], fontsize=TEXT["small"])
        axes.set_title(name, fontsize=TEXT["small"], loc="left")
        axes.margins(x=0.22)
        tidy(axes)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(table)), table.index, fontsize=TEXT["small"])
    grid[0].set_ylim(len(table) - 0.5, -0.5)
    return figure


def partition(clusters: Mapping[str, Sequence[str]], title: str, columns: int = 5) -> Figure:
    """Clusters as boxes of names."""
    columns = min(columns, len(clusters))
    rows = [list(clusters.items())[i : i + columns] for i in range(0, len(clusters), columns)]
    heights = [0.17 * max(len(members) for _, members in row) + 0.5 for row in rows]
    figure = new_figure(max(2.0 * columns, 5.0), 0.6 + sum(heights), title)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for place, (axes, (name, members)) in enumerate(zip(grid.flat, clusters.items(), strict=False)):
        axes.set(xticks=[], yticks=[], facecolor="#f7f7f7")
        axes.spines[:].set_color(COLOURS[place % 7])
        axes.spines["top"].set_linewidth(4)
        axes.set_title(fill(f"{name}  ({len(members)})", 26), loc="left", fontsize=TEXT["small"], weight="bold")
        axes.text(0.04, 0.94, "\n".join(members), va="top", fontsize=TEXT["small"], transform=axes.transAxes)
    for axes in [*grid.flat][len(clusters) :]:
        axes.remove()
    return figure
