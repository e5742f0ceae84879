from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcc.data.images import image_size, read_image
from pcc.runtime.errors import InputError

RED, BLUE = (255, 0, 0), (0, 0, 255)
UPRIGHT = np.array([[RED, BLUE, BLUE], [RED, RED, BLUE]], np.uint8)  # 2 x 3, no symmetry at all


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


# How the pixels lie in the file for each EXIF orientation, by the standard's table (0th row, 0th column).
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(STORED[orientation])), exif=exif)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert image_size(path) == (2, 3)


def test_grey_is_repeated(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 100, 255]], np.uint8)))
    assert read_image(path).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[True, False]])))
    assert read_image(path).tolist() == [[[255] * 3, [0] * 3]]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 257 * 128, 65535]], np.uint16)))
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    image = Image.frombytes("P", (2, 1), bytes([1, 0]))
    image.putpalette([*RED, *BLUE])
    assert read_image(save(tmp_path / "a.png", image)).tolist() == [[list(BLUE), list(RED)]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.array([[(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]], np.uint8)
    assert read_image(save(tmp_path / "a.png", Image.fromarray(pixels)))[0, :2].tolist() == [[255, 0, 0], [255] * 3]
    assert abs(int(read_image(tmp_path / "a.png")[0, 2, 0]) - 127) <= 1
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([*RED, *BLUE])
    path = save(tmp_path / "p.png", palette, transparency=1)
    assert read_image(path).tolist() == [[list(RED), [255] * 3]]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    assert np.abs(read_image(path).astype(int) - RED).max() <= 3


def test_result_is_rgb_bytes(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.jpg", Image.new("L", (5, 4))))
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)


def truncated(path: Path) -> Path:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    return path


def test_unreadable_files_are_one_line_naming_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    Image.new("F", (2, 2)).save(tmp_path / "float.tiff")
    for path, line in {
        tmp_path / "no.jpg": "file is missing",
        tmp_path / "empty.jpg": "file is empty",
        tmp_path / "text.jpg": "cannot be read",
        truncated(tmp_path / "cut.jpg"): "cannot be read",
        truncated(tmp_path / "cut.png"): "cannot be read",
        tmp_path / "float.tiff": "floating-point",
    }.items():
        with pytest.raises(InputError, match=line) as caught:
            read_image(path)
        assert len(caught.value.problems) == 1
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_header_is_enough_for_the_size(tmp_path: Path) -> None:
    assert image_size(truncated(tmp_path / "cut.jpg")) == (64, 64)
    with pytest.raises(InputError, match="file is missing"):
        image_size(tmp_path / "no.jpg")
