"""Pictures of masks and maps: overlays, errors, heat, legends, contact sheets.

Class colours are PASCAL VOC's, so that a mask looks the same here as in the field's other tools. That palette is not
safe for colour-blind readers, hence white outlines, and names beside every colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pcc.figures.canvas import TEXT, axes_at, new_figure, text_at
from pcc.ids import IGNORE, palette

HEAT = "inferno"
ERRORS = {"missed": "#0072B2", "invented": "#E69F00", "wrong class": "#CC79A7", "ignored": "#e0e0c0"}
CELL, GAP, MARGIN, LABEL, TITLE = (2.4, 1.8), 0.08, 0.15, 0.26, 0.8
LEGEND_LINE, LEGEND_ENTRY = 0.21, 1.45


@dataclass(frozen=True)
class Row:
    """One line of a contact sheet: a label above as many pictures as there are columns."""

    label: str
    cells: tuple[UInt8[np.ndarray, "_ _ 3"], ...]


@cache
def _table() -> UInt8[np.ndarray, "256 3"]:
    return np.array(palette(), dtype=np.uint8).reshape(256, 3)


def grey(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The image's luminance, lifted towards white so that colours laid over it stay legible."""
    luminance = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat((64 + 0.75 * luminance)[..., None], 3, axis=2).astype(np.uint8)


def overlay(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], opacity: float = 0.65
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay a mask over its image: background shows the image, every other id its colour, borders in white."""
    mixed = np.where((mask > 0)[..., None], opacity * _table()[mask] + (1 - opacity) * grey(image), image)
    mixed[borders(mask)] = 255
    return mixed.astype(np.uint8)


def errors(
    image: UInt8[np.ndarray, "H W 3"], prediction: UInt8[np.ndarray, "H W"], truth: UInt8[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The image in grey, coloured by `ERRORS` where the prediction and the truth differ."""
    picture = grey(image)
    kinds = {
        "missed": (prediction == 0) & (truth > 0),
        "invented": (prediction > 0) & (truth == 0),
        "wrong class": (prediction > 0) & (truth > 0) & (prediction != truth),
        "ignored": truth == IGNORE,
    }
    for kind, where in kinds.items():
        picture[where] = [int(ERRORS[kind][i : i + 2], 16) for i in (1, 3, 5)]
    return picture


def heat(image: UInt8[np.ndarray, "H W 3"], scores: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Scores in [0, 1] as colours, with the image showing through."""
    coloured = colormaps[HEAT](np.clip(scores, 0, 1))[..., :3] * 255
    return (0.7 * coloured + 0.3 * grey(image)).astype(np.uint8)


def class_legend(classes: Sequence[str], ids: Sequence[int]) -> dict[str, str]:
    """Name → colour of the class ids that occur (0 is background and has none).

    Args:
        classes: names by class id, background first.
        ids: what occurs in the masks shown.
    """
    names = {
        i: "ignored" if i == IGNORE else classes[i] if i < len(classes) else f"class {i}"
        for i in ids
        if i > 0
    }
    return {names[i]: f"#{_table()[i].tobytes().hex()}" for i in sorted(names)}


def contact_sheet(
    rows: Sequence[Row],
    columns: Sequence[str],
    legend: Mapping[str, str],
    title: str,
    scale: str | None = None,
    zoom: float = 1.0,
) -> Figure:
    """Rows of pictures under column titles, with the legend at the foot.

    Args:
        rows: one per image.
        columns: title of each column.
        legend: name → colour.
        title: the line above all.
        scale: what a heat colour stands for; None where no heat is shown.
        zoom: size of the pictures, as a factor.
    """
    cell_width, cell_height = CELL[0] * zoom, CELL[1] * zoom
    width = max(2 * MARGIN + len(columns) * (cell_width + GAP) - GAP, 5.0)
    per_line = max(1, int((width - 2 * MARGIN) // LEGEND_ENTRY))
    lines = -(-len(legend) // per_line)
    foot = lines * LEGEND_LINE + (0.45 if scale else 0.0) + 2 * MARGIN
    figure = new_figure(width, TITLE + len(rows) * (cell_height + LABEL) + foot)
    text_at(figure, MARGIN, 0.12, title, fontsize=TEXT["title"], weight="bold")
    for column, name in enumerate(columns):
        centre = MARGIN + column * (cell_width + GAP) + cell_width / 2
        text_at(figure, centre, TITLE - 0.22, name, ha="center", color="#444444")
    for line, row in enumerate(rows):
        top = TITLE + line * (cell_height + LABEL)
        text_at(figure, MARGIN, top + 0.06, row.label, fontsize=TEXT["small"])
        for column, cell in enumerate(row.cells):
            axes = axes_at(figure, MARGIN + column * (cell_width + GAP), top + LABEL, cell_width, cell_height)
            axes.imshow(cell, interpolation="antialiased")
            axes.set_axis_off()
            axes.set_anchor("N")
    top = TITLE + len(rows) * (cell_height + LABEL) + MARGIN
    if scale:
        colour_bar(figure, MARGIN, top, scale)
        top += 0.45
    draw_legend(figure, legend, top, per_line)
    return figure


def draw_legend(figure: Figure, legend: Mapping[str, str], top: float, per_line: int) -> None:
    """Colour patches with names, ``per_line`` to a line, ``top`` inches below the figure's upper edge."""
    if not legend:
        return
    axes = axes_at(figure, MARGIN, top, figure.get_size_inches()[0] - 2 * MARGIN, 0.2)
    axes.set_axis_off()
    patches = [
        Patch(facecolor=colour, edgecolor="#555555", linewidth=0.4, label=name)
        for name, colour in legend.items()
    ]
    axes.legend(
        handles=patches,
        ncols=per_line,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        frameon=False,
        fontsize=TEXT["small"],
        borderaxespad=0,
        borderpad=0,
        handlelength=1.2,
        columnspacing=1.2,
    )


def colour_bar(figure: Figure, left: float, top: float, label: str) -> None:
    """A horizontal bar of the heat colours from 0 to 1 with its meaning beside it."""
    axes = axes_at(figure, left, top, CELL[0] * 0.6, 0.12)
    axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=HEAT, extent=(0, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1])
    axes.tick_params(labelsize=TEXT["small"], length=2, pad=1)
    text_at(figure, left + CELL[0] * 0.6 + 0.1, top, label, fontsize=TEXT["small"])


def borders(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels of another id than their left or upper neighbour."""
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    return border


def heat_maps(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Mapping[str, Float[np.ndarray, "H W"]],
    title: str,
    columns: int = 4,
) -> Figure:
    """The image beside one heat map per name, with the scale at the foot.

    Args:
        image: RGB.
        maps: name → values in [0, 1] at the image's size.
        title: the line above all.
        columns: pictures on a line.
    """
    pictures = {"image": image, **{name: heat(image, values) for name, values in maps.items()}}
    columns = min(columns, len(pictures))
    width = max(2 * MARGIN + columns * (CELL[0] + GAP) - GAP, 5.0)
    top, line = 0.45, CELL[1] + LABEL
    figure = new_figure(width, top + -(-len(pictures) // columns) * line + 0.6)
    text_at(figure, MARGIN, 0.12, title, fontsize=TEXT["title"], weight="bold")
    for number, (name, picture) in enumerate(pictures.items()):
        left = MARGIN + number % columns * (CELL[0] + GAP)
        above = top + number // columns * line
        text_at(
            figure,
            left + CELL[0] / 2,
            above + 0.06,
            name,
            ha="center",
            fontsize=TEXT["label"],
            color="#444444",
        )
        axes = axes_at(figure, left, above + LABEL, *CELL)
        axes.imshow(picture, interpolation="antialiased")
        axes.set_axis_off()
        axes.set_anchor("N")
    colour_bar(figure, MARGIN + 0.05, top + -(-len(pictures) // columns) * line + 0.15, "value of the map")
    return figure
