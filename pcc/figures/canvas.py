"""Shared by all figures: a colour-blind-safe palette, text sizes, layout and saving."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path
from pcc.runtime.image_files import opened

rcParams["text.parse_math"] = False  # class names are data: a dollar sign in one starts no formula
# Okabe & Ito's palette, its yellow last because it is faint on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#666666", "#F0E442")
TITLE, LABEL, SMALL = 11.0, 9.0, 7.5  # text sizes in points
DPI = 130
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": SMALL, "borderpad": 0, "borderaxespad": 1}
PAD, ROOM = 0.1, 10.0  # inches around the figure, and for labels until `finish` has measured them


def new_figure(count: int = 1, columns: int = 1, row_gap: float = 0.08, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with constrained layout, without pyplot's global state, and its panels.

    Args:
        count: number of panels.
        columns: most panels side by side.
        row_gap: inches between rows of panels.
        options: of `Figure.subplots`.
    """
    layout = ConstrainedLayoutEngine(h_pad=row_gap / 2, w_pad=0.04, hspace=0, wspace=0)
    figure = Figure(dpi=DPI, layout=layout)
    columns = min(columns, count)
    panels = figure.subplots(-(-count // columns), columns, squeeze=False, **options).ravel().tolist()
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def finish(figure: Figure, title: str, width: float, height: float, legend: bool = False) -> Figure:
    """Add title and legend, then resize the figure to fit labels of any length around panels of a given size.

    Args:
        figure: a grid of panels with everything drawn.
        title: heading at the top left.
        width: inches of one panel, without labels.
        height: inches of one panel, without labels; the mean where rows differ.
        legend: whether to list the first panel's labelled artists below the title.
    """
    # One legend holds both, because constrained layout would draw a suptitle over an outside legend.
    heading = {"title": title, "title_fontproperties": {"size": TITLE, "weight": "bold"}}
    first: Any = figure.axes[0]
    handles = first.get_legend_handles_labels()[0] if legend else []
    figure.legend(handles=handles, loc="outside upper left", alignment="left", **heading, **LEGEND)
    layout: Any = figure.get_layout_engine()
    inner = np.multiply([width, height], first.get_gridspec().get_geometry()[::-1])
    size = inner + ROOM
    for _ in range(3):  # labels keep their size, colour bars only nearly so
        figure.set_size_inches(*size)
        layout.execute(figure)
        boxes = [(axes.get_subplotspec(), axes.get_position(original=True)) for axes in figure.axes]
        across = sum(box.width for spec, box in boxes if spec and spec.rowspan.start == 0)
        down = sum(box.height for spec, box in boxes if spec and spec.colspan.start == 0)
        size = inner + (1 - np.array([across, down])) * size
    # Text may be wider than the panels; they keep their size, with white to their right.
    total = np.round(np.maximum(size, [figure.get_tightbbox().x1, 0]) + 2 * PAD, 3)
    figure.set_layout_engine("none")  # positions are rounded because the solver's last digits vary
    for axes in figure.axes:
        corners = axes.get_position(original=True).get_points() * size + PAD
        axes.set_position(Bbox(np.round(corners / total, 6)))
    figure.set_size_inches(*total)
    return figure


def legend_name(name: str) -> str:
    """A name as a label of a legend, which leaves out labels that begin with an underscore.

    Examples:
        >>> legend_name("_cat"), legend_name("cat")
        (' _cat', 'cat')
    """
    return f" {name}" if name.startswith("_") else name


def heat_table(
    axes: Axes,
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    colours: str = "Blues",
) -> float:
    """Colour cells by values in [0, 1] and write texts into them; returns the width of the widest in inches."""
    axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), rows, fontsize=SMALL)
    axes.set_xticks(range(len(columns)), columns, fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL}
    drawn = [
        axes.text(x, y, text, color="white" if values[y, x] > 0.55 else "#222222", **style)
        for y, line in enumerate(texts)
        for x, text in enumerate(line)
        if text
    ]
    return max((text.get_window_extent().width / DPI for text in drawn), default=0.0)


def tidy(axes: Axes, bars: bool = False) -> None:
    """Remove the top and right spines; draw a light grid behind the data, for horizontal bars without rows."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.set_axisbelow(True)
    axes.grid(axis="x" if bars else "both", color="#dddddd", linewidth=0.6)
    if bars:
        axes.tick_params(axis="y", length=0)


MARK = "PCC"  # in every picture, so that no other is written over
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"metadata": {"Software": MARK}},
    ".jpg": {"pil_kwargs": {"quality": 88, "comment": MARK.encode()}},
}


def is_marked(path: Path) -> bool:
    """Whether `save` has written a picture."""
    try:
        with opened(path, "picture", "", formats=("PNG", "JPEG")) as image:
            return image.info.get("Software") == MARK or image.info.get("comment") == MARK.encode()
    except InputError:
        return False


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the same numbers give the same bytes.

    Args:
        figure: what to draw.
        path: ``.png`` for charts; ``.jpg`` for images, at a quarter of the size.

    Raises:
        InputError: another file extension, or a picture that this function did not write lies there.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unsupported image format '{path.suffix}'; allowed: {', '.join(FORMATS)}")
    if path.exists() and not is_marked(path):
        raise InputError(f"{path}: exists and was not drawn by PCC; name another file, or delete it")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], **FORMATS[path.suffix])
