"""Charts of numbers: bars per class, weak against full supervision, loss curves, confusion, partitions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pcc.figures.canvas import COLOURS, TEXT, axes_at, new_figure, text_at, tidy

MOST_SERIES = len(COLOURS)
CLASSES_PER_PANEL = 27
# Steps and losses.
Line = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def nothing(message: str) -> Figure:
    """A figure that says why there is none."""
    figure = new_figure(6.0, 1.2)
    text_at(figure, 3.0, 0.6, message, ha="center", va="center", color="#444444")
    return figure


def bars_per_class(
    names: Sequence[str], series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str
) -> Figure:
    """IoU of each class, one bar per series, with ± one standard deviation.

    Args:
        names: classes; long lists are cut into panels side by side.
        series: name → (means, deviations) in [0, 1]; NaN draws nothing.
        title: the line above all.
    """
    panels = [
        range(start, min(start + CLASSES_PER_PANEL, len(names)))
        for start in range(0, len(names), CLASSES_PER_PANEL)
    ]
    bar, group, legend = 0.11, 0.11 * len(series) + 0.1, 0.16 * len(series) + 0.08
    height, width, label = group * len(panels[0]) + 0.1, 5.0 if len(panels) == 1 else 3.0, 1.15
    figure = new_figure(0.3 + len(panels) * (width + label + 0.15), 0.5 + legend + height + 0.55)
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    for number, panel in enumerate(panels):
        left = 0.1 + label + number * (width + label + 0.15)
        axes = axes_at(figure, left, 0.5 + legend, width, height * len(panel) / len(panels[0]))
        for place, (name, (means, deviations)) in enumerate(series.items()):
            offsets = [(row * group + place * bar) for row in range(len(panel))]
            axes.barh(
                offsets,
                [100 * means[i] for i in panel],
                0.9 * bar,
                align="edge",
                color=COLOURS[place],
                xerr=[100 * np.nan_to_num(deviations[i]) for i in panel],
                error_kw={"elinewidth": 0.7, "ecolor": "#222222"},
                label=name,
            )
        axes.set_yticks(
            [row * group + bar * len(series) / 2 for row in range(len(panel))], [names[i] for i in panel]
        )
        axes.set_ylim(group * len(panel) - 0.05, -0.05)
        axes.set_xlim(0, 100)
        axes.set_xlabel("IoU (%)", fontsize=TEXT["label"])
        tidy(axes)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    _legend_above(figure, figure.axes[0], 0.45)
    return figure


def weak_full(rows: Sequence[tuple[str, float, float, float, float]]) -> Figure:
    """Weak and full supervision: two bars per experiment and their ratio.

    Args:
        rows: experiment, weak mIoU and its deviation, full mIoU and its deviation, in [0, 1].
    """
    label, width, group = 0.2 + 0.068 * max(len(row[0]) for row in rows), 4.2, 0.52
    figure = new_figure(label + width + 1.3, 0.8 + group * len(rows) + 0.55)
    text_at(figure, 0.15, 0.12, "Weak and full supervision", fontsize=TEXT["title"], weight="bold")
    axes = axes_at(figure, label, 0.8, width, group * len(rows))
    for place, name in enumerate(("image-level labels", "ground-truth masks")):
        axes.barh(
            [row + 0.18 + 0.32 * place for row in range(len(rows))],
            [100 * r[1 + 2 * place] for r in rows],
            0.29,
            xerr=[100 * np.nan_to_num(r[2 + 2 * place]) for r in rows],
            align="edge",
            label=name,
            color=COLOURS[1 - place],
            error_kw={"elinewidth": 0.8, "ecolor": "#222222"},
        )
    for row, (_, weak, _, full, _) in enumerate(rows):
        axes.text(
            102, row + 0.5, f"{100 * weak / full:.1f} %", va="center", fontsize=TEXT["label"], weight="bold"
        )
    axes.text(102, -0.06, "weak / full", fontsize=TEXT["small"], color="#444444")
    axes.set_yticks([row + 0.5 for row in range(len(rows))], [row[0] for row in rows])
    axes.set_ylim(len(rows), 0)
    axes.set_xlim(0, 100)
    axes.set_xlabel("mean IoU (%)", fontsize=TEXT["label"])
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelsize=TEXT["small"])
    _legend_above(figure, axes, 0.42, columns=2)
    return figure


def curves(panels: Mapping[str, Mapping[str, Line]], title: str) -> Figure:
    """Losses by step, one panel each, smoothed lines over the faint raw ones.

    Args:
        panels: panel title → {line name: (steps, losses)}.
        title: the line above all.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(lines) for lines in panels.values())
    width, height, legend = 3.3, 2.1, 0.15 * most + 0.1
    cell = height + legend + 0.75
    figure = new_figure(columns * (width + 0.75) + 0.15, 0.5 + rows * cell)
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    for number, (name, lines) in enumerate(panels.items()):
        left, top = 0.65 + number % columns * (width + 0.75), 0.5 + number // columns * cell
        text_at(figure, left, top, name, fontsize=TEXT["label"])
        axes = axes_at(figure, left, top + 0.22, width, height)
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
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.42 / height),
            borderaxespad=0,
            borderpad=0,
            frameon=False,
            fontsize=TEXT["small"],
            labelspacing=0.25,
        )
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
    cell = 0.36 if len(kept) <= 40 else 0.2
    label, side = 1.15, cell * len(kept)
    figure = new_figure(max(label + side + 0.3, 4.5), 0.5 + label + side + 0.4)
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    axes = axes_at(figure, label, 0.5 + label, side, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    ticks = [names[i] for i in kept]
    axes.set_xticks(range(len(kept)), ticks, rotation=90, fontsize=TEXT["small"])
    axes.set_yticks(range(len(kept)), ticks, fontsize=TEXT["small"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for row, column in np.argwhere(shares >= 0.5) if len(kept) <= 40 else ():
        axes.text(
            column,
            row,
            f"{shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=TEXT["small"],
            color="white" if shares[row, column] > 55 else "#222222",
        )
    text_at(
        figure,
        label,
        0.5 + label + side + 0.1,
        "rows: true class, columns: predicted; % of the true pixels",
        fontsize=TEXT["small"],
        color="#444444",
    )
    return figure


def costs(table: pd.DataFrame) -> Figure:
    """Minutes, peak memory and disk of each stage, as three panels of bars side by side.

    Args:
        table: a row per stage: ``seconds``, ``peak_memory_mb``, ``disk_mb``; NaN draws nothing.
    """
    panels = {
        "minutes in all": table["seconds"] / 60,
        "peak memory of a job, GB": table["peak_memory_mb"] / 1000,
        "disk, MB": table["disk_mb"],
    }
    height, width, label = 0.2 * len(table), 1.9, 1.2
    figure = new_figure(label + len(panels) * (width + 0.35), 0.85 + height + 0.35)
    text_at(figure, 0.15, 0.12, "Cost by stage", fontsize=TEXT["title"], weight="bold")
    for number, (name, values) in enumerate(panels.items()):
        axes = axes_at(figure, label + number * (width + 0.35), 0.75, width, height)
        bars = axes.barh(range(len(table)), values.to_numpy(), 0.7, color=COLOURS[number])
        axes.bar_label(bars, [f" {v:.2g}" if v > 0 else "" for v in values], fontsize=TEXT["small"])
        axes.set_yticks(range(len(table)), table.index if number == 0 else [], fontsize=TEXT["small"])
        axes.set_title(name, fontsize=TEXT["small"], loc="left")
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.margins(x=0.22)
        tidy(axes)
    return figure


def partition(clusters: Mapping[str, Sequence[str]], title: str, columns: int = 5) -> Figure:
    """Clusters as boxes of names."""
    columns = min(columns, len(clusters))
    lines = [list(clusters.items())[i : i + columns] for i in range(0, len(clusters), columns)]
    width, step = 1.75, 0.19
    heights = [step * max(len(members) for _, members in line) + 0.42 for line in lines]
    figure = new_figure(max(columns * (width + 0.12) + 0.2, 4.5), 0.5 + sum(heights) + 0.12 * len(lines))
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    top = 0.5
    for row, (line, height) in enumerate(zip(lines, heights, strict=True)):
        for column, (name, members) in enumerate(line):
            left, colour = 0.15 + column * (width + 0.12), COLOURS[(row * columns + column) % 7]
            axes = axes_at(figure, left, top, width, height)
            axes.set(xticks=[], yticks=[], facecolor="#f7f7f7")
            axes.spines[:].set_color(colour)
            axes.spines["top"].set_linewidth(4)
            text_at(figure, left + 0.08, top + 0.1, f"{name}  ({len(members)})", weight="bold")
            text_at(
                figure, left + 0.08, top + 0.33, "\n".join(members), fontsize=TEXT["small"], linespacing=1.45
            )
        top += height + 0.12
    return figure


def _legend_above(figure: Figure, axes: Axes, top: float, columns: int = 1) -> None:
    down = figure.get_size_inches()[1]
    box = axes.get_position()
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="upper left",
        bbox_to_anchor=(box.x0, 1 - top / down),
        ncols=columns,
        frameon=False,
        fontsize=TEXT["small"],
        borderaxespad=0,
        borderpad=0,
    )
