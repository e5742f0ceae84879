"""What is drawn is what was given, and no text lies on other text."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from pcc.figures import charts

NAMES = ["background", *(f"a class called {i}" for i in range(1, 81))]


def random(count: int) -> list[float]:
    return np.random.default_rng(count).random(count).tolist()


FIGURES: dict[str, Callable[[], Figure]] = {
    "bars": lambda: charts.bars_per_class(
        NAMES[:21], {f"pcc / {i}": (random(21), random(21)) for i in range(8)}, "IoU"
    ),
    "bars of one": lambda: charts.bars_per_class(NAMES[:2], {"pcc": (random(2), random(2))}, "IoU by class"),
    "many bars": lambda: charts.bars_per_class(NAMES, {"pcc": (random(81), random(81))}, "IoU by class"),
    "weak full": lambda: charts.weak_full([("pcc / iscam / crf / light", 0.5, 0.1, 0.8, np.nan)]),
    "curves": lambda: charts.curves({f"p{i}": {"seed 0": (np.arange(50), random(50))} for i in range(4)}, "Losses"),
    "confusion": lambda: charts.confusion((np.eye(21, dtype=int) + 1).tolist(), NAMES[:21], "Confusion"),
    "partition": lambda: charts.partition({f"group {i}": NAMES[i : 2 * i + 1] for i in range(1, 9)}, "Clusters"),
    "nothing": lambda: charts.nothing("nothing to show"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_or_leaves_the_figure(name: str) -> None:
    figure = FIGURES[name]()
    figure.canvas.draw()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    boxes = {t: t.get_window_extent().shrunk(0.95, 0.8) for t in texts if t.get_window_extent().width > 0}
    width, height = figure.canvas.get_width_height()
    shown = {t: b for t, b in boxes.items() if not _is_hidden_tick(t, figure)}
    for text, box in shown.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    for one, other in itertools.combinations(shown, 2):
        assert not shown[one].overlaps(shown[other]), (one.get_text(), other.get_text())


def _is_hidden_tick(text: Text, figure: Figure) -> bool:
    """Matplotlib keeps labels of ticks outside the limits without drawing them."""
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    return not (axes.axison and limits[0] <= tick.get_loc() <= limits[1])
    return False


def test_bars_are_as_long_as_the_numbers() -> None:
    means = [0.5, float("nan"), 0.25]
    figure = charts.bars_per_class(["a", "b", "c"], {"x": (means, [0.1, 0.1, float("nan")])}, "t")
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([50, np.nan, 25], nan_ok=True)


def test_confusion_leaves_out_classes_without_pixels() -> None:
    figure = charts.confusion([[8, 2, 0], [5, 5, 0], [0, 0, 0]], ["background", "cat", "dog"], "t")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "cat"]
    assert np.asarray(axes.images[0].get_array()).tolist() == [[80, 20], [50, 50]]


def test_smoothing_is_a_running_mean() -> None:
    values = np.random.default_rng(0).random(200)
    smoothed = charts.smooth(values)
    assert smoothed[100] == pytest.approx(values[95:106].mean())
    assert smoothed[0] == pytest.approx(values[:6].mean())
    assert charts.smooth(np.array([3.0])).tolist() == [3.0]
