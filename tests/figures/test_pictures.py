"""Colours where they belong, and the same picture for the same input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcc.figures import charts
from pcc.figures.canvas import save
from pcc.figures.pictures import ERRORS, Row, class_legend, contact_sheet, errors, grey, heat, heat_maps, overlay
from pcc.ids import palette
from pcc.runtime.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))


def test_overlay_leaves_background_alone_and_colours_classes() -> None:
    mask = np.zeros((12, 16), np.uint8)
    mask[4:9, 5:11] = 2
    picture = overlay(IMAGE, mask, opacity=1.0)
    assert (picture[:4] == IMAGE[:4]).all()
    assert (picture[5:8, 6:10] == palette()[6:9]).all()
    assert (picture[4, 5:11] == 255).all() and (picture[4:9, 5] == 255).all()


def test_errors_of_every_kind() -> None:
    prediction = np.array([[0, 1, 0, 1, 2, 1]], np.uint8)
    truth = np.array([[0, 1, 1, 0, 1, 255]], np.uint8)
    image = IMAGE[:1, :6]
    picture = errors(image, prediction, truth)[0].tolist()
    same = grey(image)[0].tolist()
    assert picture == [*same[:2], *(rgb(ERRORS[k]) for k in ("missed", "invented", "wrong class", "ignored"))]


def test_heat_is_brighter_where_the_map_is_higher() -> None:
    scores = np.tile(np.linspace(-0.5, 1.5, 16, dtype=np.float32), (12, 1))
    flat = np.full_like(IMAGE, 100)
    brightness = heat(flat, scores).astype(int).sum(axis=(0, 2))
    assert (np.diff(brightness) >= 0).all() and brightness[-1] > 3 * brightness[0]


def test_legend_names_what_occurs() -> None:
    legend = class_legend(["background", "cat", "dog"], [0, 2, 255, 9])
    assert list(legend) == ["dog", "class 9", "ignored"]
    assert rgb(legend["dog"]) == palette()[6:9]


def test_a_sheet_is_the_same_twice_and_grows_by_the_row(tmp_path: Path) -> None:
    rows = [Row(f"image {i}", (IMAGE, IMAGE)) for i in range(3)]
    for name, count in (("a", 3), ("b", 3), ("c", 1)):
        save(
            contact_sheet(rows[:count], ["left", "right"], {"cat": "#ff0000"}, "title", "heat"),
            tmp_path / f"{name}.png",
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    tall, short = (Image.open(tmp_path / f"{name}.png") for name in "ac")
    assert tall.width == short.width and tall.height > 2 * short.height
    assert tall.info["Software"] == "PCC" and "Creation Time" not in tall.info


def test_heat_maps_wrap_onto_lines() -> None:
    maps = {f"class {i}": np.zeros((12, 16), np.float32) for i in range(5)}
    one, two = heat_maps(IMAGE, {"cat": maps["class 0"]}, "t"), heat_maps(IMAGE, maps, "t")
    assert two.get_size_inches()[1] > one.get_size_inches()[1] + 1
    assert len(two.axes) == 1 + 5 + 1


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_picture_of_the_user_is_not_drawn_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (4, 4), "red").save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"{name}: exists and was not drawn by PCC"):
        save(charts.nothing("x"), path)
    assert path.read_bytes() == before
    path.unlink()
    save(charts.nothing("x"), path)
    save(charts.nothing("y"), path)


def test_text_under_a_picture_s_name_is_not_drawn_over_either(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a letter")
    with pytest.raises(InputError, match="exists"):
        save(charts.nothing("x"), tmp_path / "a.png")
