"""What learned prompts say: the nearest nouns of every class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pcc.figures.canvas import TEXT, label_length, new_figure


def nearest_nouns(rows: Sequence[tuple[str, float, Sequence[tuple[str, float]]]], title: str) -> Figure:
    """A line for each class: cosine of its prompt to its own name, then to the nearest nouns, darker where higher.

    Args:
        rows: class, cosine to its own name, and the nouns with theirs; as many for each class.
        title: of the figure.
    """
    columns = 1 + max(len(found) for _, _, found in rows)
    longest = label_length([f"{noun} 0.00" for _, _, found in rows for noun, _ in found])
    width = label_length([name for name, _, _ in rows]) + max(1.15, longest) * columns
    figure = new_figure(0.4 + width, 1.1 + 0.27 * len(rows), title)
    axes = figure.subplots()
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
