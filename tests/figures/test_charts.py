"""The figures show the numbers they were given, and no text overlaps another or is cut off."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from pcc.figures import charts
from pcc.figures.canvas import DPI, save
from pcc.figures.pictures import Row, contact_sheet, heat_maps

NAMES = ["background", *(f"a class called {i}" for i in range(1, 81))]
LONG = ["a class with a really long name", "price in $, tax in $", *NAMES[:3]]
IMAGE = np.zeros((30, 40, 3), np.uint8)


def random(count: int) -> list[float]:
    return np.random.default_rng(count).random(count).tolist()


def bars(names: list[str], series: int) -> Figure:
    numbers = (random(len(names)), random(len(names)))
    return charts.bars_per_class(names, {f"pcc / {i}": numbers for i in range(series)}, "IoU by class")


def losses(panels: int, lines: int) -> Figure:
    curve = {f"pcc / iscam / crf / deeplab, seed {i}": (np.arange(50), random(50)) for i in range(lines)}
    return charts.curves({f"classifier: loss {i}": curve for i in range(panels)}, "Training losses")


def confusion(names: list[str]) -> Figure:
    title = "Confusion of an experiment\npredictions on val"
    return charts.confusion((np.eye(len(names), dtype=int) + 1).tolist(), names, title)


def co_association(names: list[str]) -> Figure:
    together = np.eye(len(names))
    return charts.co_association_map(together, linkage(squareform(1 - together), "average"), names, 0.5, "Clusters")


def sheet(columns: int, rows: int, legend: list[str]) -> Figure:
    each = [Row(", ".join([f"image {i}", *LONG, *NAMES[:5]]), (IMAGE,) * columns) for i in range(rows)]
    heads = ["image", "strongest map", "argmax of the maps", "truth", "error"][:columns]
    return contact_sheet(each, heads, dict.fromkeys(legend, "#ff0000"), "title\nsubtitle", "largest value")


FIGURES: dict[str, Callable[[], Figure]] = {
    "bars": lambda: bars(NAMES[:21], 8),
    "bars of one": lambda: bars(NAMES[:2], 1),
    "bars, long names": lambda: bars(LONG, 1),
    "many bars": lambda: bars(NAMES, 1),
    "weak full": lambda: charts.weak_full([("pcc / iscam / crf / light", 0.5, 0.1, 0.8, np.nan)] * 3),
    "one curve": lambda: losses(1, 1),
    "curves": lambda: losses(7, 10),
    "confusion": lambda: confusion(NAMES[:21]),
    "confusion of one": lambda: confusion(["a"]),
    "confusion, long names": lambda: confusion(LONG),
    "confusion of many": lambda: confusion(NAMES),
    "costs": lambda: charts.costs(
        pd.DataFrame(
            {"seconds": [6e4, 3], "peak_memory_mb": [9e3, 1], "disk_mb": [np.nan, 5e4]},
            ["predict_with_ensemble", "maps"],
        )
    ),
    "partition": lambda: charts.partition({f"group {i}": NAMES[i : 2 * i + 1] for i in range(1, 9)}, "Clusters"),
    "partition, long names": lambda: charts.partition({name + name: LONG for name in LONG}, "Clusters"),
    "co-association": lambda: co_association(NAMES),
    "co-association, long names": lambda: co_association(LONG),
    "nouns": lambda: charts.nearest_nouns([(n, 0.5, [("a long noun", 0.9)] * 5) for n in LONG], "A" * 90),
    "heat maps": lambda: heat_maps(IMAGE, dict.fromkeys(LONG, np.zeros((30, 40), np.float32)), "Maps"),
    "sheet": lambda: sheet(3, 2, LONG),
    "sheet of many classes": lambda: sheet(5, 3, NAMES),
    "sheet without images": lambda: sheet(3, 0, []),
    "nothing": lambda: charts.nothing("nothing to show"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_or_leaves_the_figure(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    save(figure, tmp_path / "figure.png")
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    shown = {t: t.get_window_extent() for t in texts if not _is_hidden_tick(t, figure)}
    assert shown
    width, height = figure.bbox.size
    for text, box in shown.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    inner = {text: box.shrunk(0.95, 0.8) for text, box in shown.items()}
    for one, other in itertools.combinations(shown, 2):
        assert not inner[one].overlaps(inner[other]), (one.get_text(), other.get_text())


def _is_hidden_tick(text: Text, figure: Figure) -> bool:
    """Matplotlib keeps labels of ticks outside the limits without drawing them."""
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    return not (axes.axison and limits[0] <= tick.get_loc() <= limits[1])
    return False


def panel_sizes(figure: Figure, path: Path) -> np.ndarray:
    """Inches of each panel once it is drawn, legends and colour bars left out."""
    save(figure, path)
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    return np.array([axes.get_position(original=True).size * figure.bbox.size / DPI for axes in panels])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("bars, long names", (5.0, 1.0)),
        ("curves", (3.3, 2.1)),
        ("confusion, long names", (1.8, 1.8)),
        ("nothing", (4.0, 0.2)),
        ("heat maps", (2.4, 1.8)),
        ("sheet", (2.4, 1.8)),
        ("sheet of many classes", (2.4, 1.8)),
    ],
)
def test_panels_keep_their_size_however_long_the_labels(name: str, size: tuple[float, float], tmp_path: Path) -> None:
    sizes = panel_sizes(FIGURES[name](), tmp_path / "figure.png")
    np.testing.assert_allclose(sizes, np.broadcast_to(size, sizes.shape), atol=0.03)


@pytest.mark.parametrize("name", ["bars", "sheet", "co-association"])
def test_positions_are_rounded_so_that_a_figure_is_the_same_twice(name: str) -> None:
    """Constrained layout's solver differs in the last digits from one call to the next."""
    figure = FIGURES[name]()
    for axes in figure.axes:
        corners = axes.get_position(original=True).get_points()
        assert (corners == np.round(corners, 6)).all()
    assert figure.get_size_inches().tolist() == np.round(figure.get_size_inches(), 3).tolist()


def test_bars_are_as_long_as_the_numbers() -> None:
    means = [0.5, float("nan"), 0.25]
    figure = charts.bars_per_class(["a", "b", "c"], {"x": (means, [0.1, 0.1, float("nan")])}, "t")
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([50, np.nan, 25], nan_ok=True)


def test_bars_of_many_classes_are_split_evenly() -> None:
    figure = bars(NAMES[:40], 1)
    assert [len(axes.patches) for axes in figure.axes] == [20, 20]
    assert [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()] == NAMES[:40]


def test_weak_full_shows_both_and_their_ratio() -> None:
    axes = charts.weak_full([("one", 0.3, 0.1, 0.6, np.nan), ("two", 0.4, 0.0, 0.5, 0.1)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([30, 40, 60, 50])
    assert [text.get_text() for text in axes.texts] == ["50.0 %", "80.0 %", "weak / full"]


def test_confusion_leaves_out_classes_without_pixels() -> None:
    figure = charts.confusion([[8, 2, 0], [5, 5, 0], [0, 0, 0]], ["background", "cat", "dog"], "t")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "cat"]
    assert [text.get_text() for text in axes.texts] == ["80", "20", "50", "50"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0.5, 0.5]])


def test_smoothing_is_a_running_mean() -> None:
    values = np.random.default_rng(0).random(200)
    smoothed = charts.smooth(values)
    assert smoothed[100] == pytest.approx(values[95:106].mean())
    assert smoothed[0] == pytest.approx(values[:6].mean())
    assert charts.smooth(np.array([3.0])).tolist() == [3.0]
