"""Whatever a file holds, reading it gives an image or one line; nothing is run."""

import os
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_images import KINDS, SIDE, damaged_files, sound_file
from PIL import Image

from pcc.artifacts.masks import read_mask
from pcc.data.images import SUFFIXES, image_size, read_image
from pcc.runtime.errors import InputError


def test_there_is_a_sound_file_of_every_suffix_and_its_header_says_its_size(tmp_path: Path) -> None:
    assert {Path(kind).suffix for kind in KINDS} == set(SUFFIXES)
    for kind in KINDS:
        path = tmp_path / kind
        path.write_bytes(sound_file(kind))
        image = read_image(path)
        assert sorted(image.shape[:2]) == [SIDE, SIDE + 8]
        assert image_size(path) == image.shape[:2]


def outcome(reader: Callable[[Path], Any], path: Path) -> Any:
    """What the reader gives, or None where it refuses the file."""
    try:
        return reader(path)
    except InputError as error:
        (line,) = error.problems
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as pcc.runtime.image_files does
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for name, content in damaged_files(300, seed=20):
        path = tmp_path / name
        path.write_bytes(content)
        image, size, mask = (outcome(reader, path) for reader in (read_image, image_size, read_mask))
        assert image is None or image.shape[:2] == size
        counts += Counter({"image": image is not None, "size": size is not None, "mask": mask is not None})
    assert 60 < counts["image"] < counts["size"] < 240
    assert counts["mask"] > 0


def png(width: int, height: int) -> bytes:
    """A PNG that says a size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"),
        (
            "binary.png",
            struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, 80, 0, 0, 0, 0, 0xFFFF) + b"  %!PS-Adobe-3.0 EPSF-3.0\n",
        ),
        ("icon.webp", b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00\x30\x00\x00\x00\x16\x00\x00\x00"),
        ("drawing.gif", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("layers.tif", b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(300)),
        ("page.jpeg", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"),
        ("metafile.bmp", b"\xd7\xcd\xc6\x9a\x00\x00" + struct.pack("<hhhhHIH", 0, 0, 9, 9, 96, 0, 0) + bytes(40)),
    ],
)
def test_other_formats_are_refused_and_no_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    for program in ("gs", "gswin32c", "rawtoppm", "xv"):
        stand_in = tmp_path / program
        stand_in.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / name
    path.write_bytes(content)
    for reader in (read_image, image_size, read_mask):
        with pytest.raises(InputError, match=r"cannot be read \(damaged, or no file of format"):
            reader(path)
    assert not (tmp_path / "started").exists()


def test_pillow_itself_would_have_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack of the test above is a real one."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    path = tmp_path / "script.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises((OSError, subprocess.CalledProcessError)), Image.open(path) as image:
        image.load()
    assert (tmp_path / "started").exists()


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (2**31 - 1, 1), (0, 7), (20000, 9000)])
def test_sizes_are_bounded_before_memory_is_asked_for(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height))
    for reader in (read_image, image_size, read_mask):
        with pytest.raises(InputError, match=r"a\.png: (image|mask) (cannot be read|has) "):
            reader(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 1), (65500, 1), (1, 65500), (7, 3)])
def test_odd_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    for suffix in (".jpg", ".png", ".tif", ".bmp"):
        Image.new("RGB", size, (200, 200, 200)).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}").shape == (size[1], size[0], 3)


def test_numbers_of_unknown_range_are_refused_and_not_clipped(tmp_path: Path) -> None:
    for name, value in {"deep.tif": 70000, "negative.tif": -1}.items():
        Image.fromarray(np.full((4, 4), value, np.int32)).save(tmp_path / name)
        with pytest.raises(InputError, match="32-bit numbers of unknown range"):
            read_image(tmp_path / name)


def test_a_header_says_the_turned_size_of_a_tiff(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (6, 4)).save(tmp_path / "a.tif", exif=exif)
        assert image_size(tmp_path / "a.tif") == read_image(tmp_path / "a.tif").shape[:2]
        assert image_size(tmp_path / "a.tif") == ((4, 6) if orientation < 5 else (6, 4))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_masks_of_few_bits_keep_their_ids(tmp_path: Path, depth: int) -> None:
    """Pillow spreads 2 and 4 bits of grey over 0..255."""
    values = np.arange(2**depth, dtype=np.uint8).repeat(8)[None]
    packed = np.packbits(np.unpackbits(values[0][:, None], axis=1)[:, 8 - depth :].ravel())
    header = b"IHDR" + struct.pack(">IIBBBBB", values.size, 1, depth, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (header, b"IDAT" + zlib.compress(b"\0" + packed.tobytes()), b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), values)


def test_masks_are_png_only(tmp_path: Path) -> None:
    for name in ("JPEG", "TIFF", "GIF", "BMP"):
        Image.new("L", (4, 4)).save(tmp_path / "a.png", name)
        with pytest.raises(InputError, match=r"a\.png: mask cannot be read \(damaged, or no file of format PNG\)"):
            read_mask(tmp_path / "a.png")
