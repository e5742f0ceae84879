"""Pictures of masks and maps: overlays, errors, heat, legends, contact sheets.

Class colours are PASCAL VOC's, so that a mask looks the same here as in the field's other tools. That palette is not
safe for colour-blind readers, hence white outlines, and names beside every colour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from pcc.figures.canvas import LABEL, LEGEND, SMALL, finish, new_figure
from pcc.ids import IGNORE, palette

HEAT = "inferno"
ERRORS = {"missed": "#0072B2", "invented": "#E69F00", "wrong class": "#CC79A7", "ignored": "#e0e0c0"}
CELL = (2.4, 1.8)  # inches of one image


@dataclass(frozen=True)
class Row:
    """One row of a contact sheet: a label above one image per column."""

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
    names = [*classes, *(f"class {i}" for i in range(len(classes), IGNORE)), "ignored"]
    return {names[i]: f"#{_table()[i].tobytes().hex()}" for i in sorted(ids) if i > 0}


def contact_sheet(
    rows: Sequence[Row],
    columns: Sequence[str],
    legend: Mapping[str, str],
    title: str,
    scale: str | None = None,
    zoom: float = 1.0,
) -> Figure:
    """Rows of images under column titles, with the legend at the bottom.

    Args:
        rows: one per image.
        columns: title of each column.
        legend: name → colour.
        title: heading.
        scale: what a heat colour stands for; None where no heat is shown.
        zoom: factor on the size of the images.
    """
    rows = rows or [Row("no images", ())]
    # The gap has room for the rows' labels. They are the figure's texts, which take no part in the layout.
    figure, grid = new_figure(len(rows) * len(columns), len(columns), row_gap=0.24)
    for axes, name in zip(grid, columns, strict=False):
        axes.set_title(name, loc="left", pad=16, fontsize=LABEL, color="#444444")
    for number, row in enumerate(rows):
        line = grid[number * len(columns) :][: len(columns)]
        _show(line, row.cells)
        above = offset_copy(line[0].transAxes, figure, y=4, units="points")
        figure.text(0, 1, row.label, transform=above, fontsize=SMALL)
    if scale:
        _colour_bar(grid[-len(columns)], scale)
    if legend:
        patches = [Patch(facecolor=c, edgecolor="#555555", linewidth=0.4, label=n) for n, c in legend.items()]
        per_line = max(1, int(len(columns) * CELL[0] * zoom / (0.4 + 0.06 * max(map(len, legend)))))
        figure.legend(handles=patches, ncols=per_line, loc="outside lower left", handlelength=1.2, **LEGEND)
    return finish(figure, title, CELL[0] * zoom, CELL[1] * zoom)


def _show(grid: Sequence[Axes], images: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> None:
    for axes in grid:
        axes.set_axis_off()
    for axes, image in zip(grid, images, strict=False):
        axes.imshow(image, interpolation="antialiased")
        axes.set_anchor("NW")


def _colour_bar(axes: Axes, label: str) -> None:
    """The heat colours from 0 to 1 below the axes, with their meaning."""
    place: Any = {"location": "bottom", "anchor": (0, 1), "panchor": False, "shrink": 0.6, "aspect": 12}
    bar = axes.figure.colorbar(ScalarMappable(cmap=HEAT), ax=axes, ticks=[0, 0.5, 1], **place)
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1)
    bar.set_label(label, loc="left", fontsize=SMALL)


def borders(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels of another id than their left or upper neighbour."""
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    return border


def heat_maps(
    image: UInt8[np.ndarray, "H W 3"], maps: Mapping[str, Float[np.ndarray, "H W"]], title: str, columns: int = 4
) -> Figure:
    """The image beside one heat map per name, with the colour scale at the bottom.

    Args:
        image: RGB.
        maps: name → values in [0, 1] at the image's size.
        title: heading.
        columns: images per row.
    """
    named = {"image": image, **{name: heat(image, values) for name, values in maps.items()}}
    figure, grid = new_figure(len(named), columns)
    _show(grid, named.values())
    for axes, name in zip(grid, named, strict=True):
        axes.set_title(name, loc="left", fontsize=LABEL, color="#444444")
    _colour_bar(grid[(len(named) - 1) // columns * columns], "value of the map")
    return finish(figure, title, *CELL)
