"""Pictures as bytes say what the arrays said."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pcc.figures.pictures import borders
from pcc.gallery import encoding as layers


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_numbers_survive_the_address() -> None:
    values = np.random.default_rng(0).integers(0, 256, (17, 23), dtype=np.uint8)
    head, _, body = layers.grey_address(values).partition(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(opened(base64.b64decode(body))), values)


@pytest.mark.parametrize(("shape", "size"), [((40, 60), (60, 40)), ((400, 200), (96, 192)), ((1, 900), (192, 1))])
def test_overlays_show_things_and_let_background_through(shape: tuple[int, int], size: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 3
    mask[:, -shape[1] // 4 :] = 255
    picture = opened(layers.overlay_bytes(mask)).convert("RGBA")
    assert picture.size == size
    pixels = np.asarray(picture)
    middle = pixels[size[1] // 2]
    assert tuple(middle[size[0] // 4]) == (128, 128, 0, 255)  # class 3 of VOC's palette
    assert tuple(middle[-2]) == (224, 224, 192, 255)
    assert middle[size[0] * 5 // 8][3] == 0
    assert (255, 255, 255, 255) in map(tuple, middle)


def test_a_mask_of_all_ids_is_drawn_without_borders() -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert borders(mask).any()
    pixels = np.asarray(opened(layers.overlay_bytes(mask)))
    np.testing.assert_array_equal(pixels, mask)


def test_photos_are_shrunk_and_never_enlarged() -> None:
    image = np.full((300, 500, 3), 77, np.uint8)
    assert opened(layers.photo_bytes(image, 100)).size == (100, 60)
    assert opened(layers.photo_bytes(image, 800)).size == (500, 300)


def test_maps_keep_their_values_to_half_a_step() -> None:
    rng = np.random.default_rng(0)
    for values, ends in (
        (rng.random((2, 5, 6)), (0, 1)),
        (rng.random((2, 5, 6)) * 7 - 2, None),
        (np.zeros((1, 2, 2)), (0, 1)),
    ):
        steps, low, high = layers.quantized(values)
        assert ends is None or (low, high) == ends
        assert low <= values.min() and high >= values.max()
        np.testing.assert_allclose(low + steps / 255 * (high - low), values, atol=(high - low) / 509)


def test_no_number_is_the_lowest() -> None:
    steps, low, high = layers.quantized(np.array([[[np.nan, np.inf, 0.5]]]))
    assert steps.tolist() == [[[0, 0, 128]]] and (low, high) == (0, 1)


def test_colours() -> None:
    heat, classes = layers.heat_colours(), layers.class_colours()
    assert len(heat) == len(classes) == 256 and classes[:3] == ["#000000", "#800000", "#008000"]
    luminance = [0.2126 * int(c[1:3], 16) + 0.7152 * int(c[3:5], 16) + 0.0722 * int(c[5:], 16) for c in heat]
    assert np.all(np.diff(luminance) > -1)  # from dark to light all the way
