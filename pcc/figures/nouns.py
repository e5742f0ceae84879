"""What learned prompts say: the nearest nouns of every class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pcc.figures.canvas import TEXT, axes_at, new_figure, text_at

LEFT, TOP, CELL, ROW = 1.6, 0.85, 1.15, 0.27


def nearest_nouns(rows: Sequence[tuple[str, float, Sequence[tuple[str, float]]]], title: str) -> Figure:
    """A line for each class: cosine of its prompt to its own name, then to the nearest nouns, darker where higher.

    Args:
        rows: class, cosine to its own name, and the nouns with theirs; as many for each class.
        title: the line above all.
    """
    columns = 1 + max(len(found) for _, _, found in rows)
    width, height = CELL * columns, ROW * len(rows)
    figure = new_figure(LEFT + width + 0.2, TOP + height + 0.2)
    text_at(figure, 0.15, 0.12, title, fontsize=TEXT["title"], weight="bold")
    axes = axes_at(figure, LEFT, TOP, width, height)
    cells = np.full((len(rows), columns), np.nan)
    for y, (_, own, found) in enumerate(rows):
        cells[y, : 1 + len(found)] = [own, *(cosine for _, cosine in found)]
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, (_, own, found) in enumerate(rows):
        for x, text in enumerate([f"{own:.2f}", *(f"{noun} {cosine:.2f}" for noun, cosine in found)]):
            colour = "white" if cells[y, x] > 0.6 else "#222222"
            axes.text(x, y, text, ha="center", va="center", fontsize=TEXT["small"], color=colour)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=TEXT["small"])
    axes.set_xticks(range(columns), ["own name", *map(str, range(1, columns))], fontsize=TEXT["small"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
