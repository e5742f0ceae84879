"""What every figure shares: colours that colour-blind readers can tell apart, one way to make and to save."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path

rcParams["text.parse_math"] = False  # class names are data: a dollar sign in one starts no formula
# Okabe & Ito's palette, its yellow last because it is faint on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#666666", "#F0E442")
TEXT = {"title": 11.0, "label": 9.0, "small": 7.5}
DPI = 130


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure of so many inches, laid out by matplotlib; without pyplot, so nothing global remembers it."""
    width = max(width, 0.3 + 0.095 * max(map(len, title.split("\n"))))
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.12 / width, ha="left", fontsize=TEXT["title"], weight="bold")
    return figure


def label_length(names: Sequence[str]) -> float:
    """Inches that the longest of the names takes as a label, about."""
    return 0.075 * max(map(len, names), default=0)


def tidy(axes: Axes) -> None:
    """Only the axes that carry numbers; a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT["small"])
    axes.set_axisbelow(True)
    axes.grid(color="#dddddd", linewidth=0.6)


FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"metadata": {"Software": None}},  # without the drawing library's version
    ".jpg": {"pil_kwargs": {"quality": 88}},
}


def save(figure: Figure, path: Path) -> None:
    """Write a picture that is the same for the same numbers.

    Args:
        figure: what to draw.
        path: ``.png`` for lines and flat colours, ``.jpg`` for photographs, which takes a quarter of the space.

    Raises:
        InputError: another suffix.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unsupported format '{path.suffix}'; allowed: {', '.join(FORMATS)}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], **FORMATS[path.suffix])
