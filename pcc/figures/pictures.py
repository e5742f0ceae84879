"""Pictures of masks and maps: overlays, errors, heat, legends, contact sheets.

Class colours are PASCAL VOC's, so that a mask looks the same here as in the field's other tools. That palette is not
safe for colour-blind readers, hence white outlines, and names beside every colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from pcc.figures.canvas import TEXT, new_figure
from pcc.ids import IGNORE, palette

HEAT = "inferno"
ERRORS = {"missed": "#0072B2", "invented": "#E69F00", "wrong class": "#CC79A7", "ignored": "#e0e0c0"}
# Inches.
CELL, GAP, LABEL = (2.4, 1.8), 0.08, 0.3
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
    names = {i: "ignored" if i == IGNORE else classes[i] if i < len(classes) else f"class {i}" for i in ids if i > 0}
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
        title: of the figure.
        scale: what a heat colour stands for; None where no heat is shown.
        zoom: size of the pictures, as a factor.
    """
    width = max(len(columns) * (CELL[0] * zoom + GAP), 5.0)
    per_line = max(1, int(width // LEGEND_ENTRY))
    foot = -(-len(legend) // per_line) * LEGEND_LINE + (0.5 if scale else 0.0)
    figure = new_figure(width, 1.0 + len(rows) * (CELL[1] * zoom + LABEL) + foot, title)
    parts: Any = figure.subfigures(len(rows) + 1, 1, height_ratios=[1.0] * len(rows) + [0.2 if scale else 0.01])
    *lines, bar = parts
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        line.suptitle(row.label, x=0.02, ha="left", fontsize=TEXT["small"])
        grid = [*line.subplots(1, len(columns), squeeze=False)[0]]
        _draw(grid, row.cells, columns if number == 0 else ())
    if scale:
        _colour_bar(bar, scale)
    patches = [
        Patch(facecolor=colour, edgecolor="#555555", linewidth=0.4, label=name) for name, colour in legend.items()
    ]
    if patches:
        small = {"fontsize": TEXT["small"], "handlelength": 1.2, "columnspacing": 1.2}
        figure.legend(handles=patches, ncols=per_line, loc="outside lower left", frameon=False, **small)
    return figure


def heat_maps(
    image: UInt8[np.ndarray, "H W 3"], maps: Mapping[str, Float[np.ndarray, "H W"]], title: str, columns: int = 4
) -> Figure:
    """The image beside one heat map per name, with the scale at the foot.

    Args:
        image: RGB.
        maps: name → values in [0, 1] at the image's size.
        title: of the figure.
        columns: pictures on a line.
    """
    pictures = {"image": image, **{name: heat(image, values) for name, values in maps.items()}}
    columns = min(columns, len(pictures))
    lines = -(-len(pictures) // columns)
    figure = new_figure(max(columns * (CELL[0] + GAP), 5.0), 1.0 + lines * (CELL[1] + LABEL), title)
    parts: Any = figure.subfigures(2, 1, height_ratios=[lines, 0.2])
    above, bar = parts
    grid = [*above.subplots(lines, columns, squeeze=False).flat]
    _draw(grid, list(pictures.values()), list(pictures))
    _colour_bar(bar, "value of the map")
    return figure


def _draw(grid: Sequence[Axes], pictures: Sequence[np.ndarray], titles: Sequence[str]) -> None:
    """A picture in each of the axes; the rest is removed."""
    for axes, picture in zip(grid, pictures, strict=False):
        axes.imshow(picture, interpolation="antialiased")
    for axes, name in zip(grid, titles, strict=False):
        axes.set_title(name, fontsize=TEXT["label"], color="#444444")
    for axes in grid:
        axes.set_axis_off()
        axes.set_anchor("N")
    for axes in grid[len(pictures) :]:
        axes.remove()


def _colour_bar(part: SubFigure, label: str) -> None:
    """A horizontal bar of the heat colours from 0 to 1 with its meaning beside it."""
    axes = part.add_axes((0.04, 0.55, 0.2, 0.3))
    axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=HEAT, extent=(0, 1, 0, 1))
    axes.set(yticks=[], xticks=[0, 0.5, 1])
    axes.tick_params(labelsize=TEXT["small"], length=2, pad=1)
    part.text(0.26, 0.7, label, va="center", fontsize=TEXT["small"])


def borders(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels of another id than their left or upper neighbour."""
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    return border
