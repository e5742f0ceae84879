import os
from collections.abc import Callable
from pathlib import Path

import images
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos/cat").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos/cat" / name).write_bytes(b"12")
    return tmp_path / "photos"


def state(folder: Path, **more: object) -> str:
    images._state.cache_clear()
    return images.state_of_files({"settings": {"images": str(folder), "masks": None}, **more})


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "cat/a.jpg").write_bytes(b"123"),
        lambda f: os.utime(f / "cat/a.jpg", (1, 1)),
        lambda f: (f / "cat/a.jpg").unlink(),
        lambda f: (f / "cat/c.jpg").write_bytes(b""),
        lambda f: (f / "cat").rename(f / "dog"),
    ],
)
def test_a_change_shows(folder: Path, change: Callable[[Path], object]) -> None:
    before = state(folder)
    assert state(folder) == before != ""
    change(folder)
    assert state(folder) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / ".DS_Store").write_bytes(b""),
        lambda f: (f / "cat/loop").symlink_to(f / "cat"),
        lambda f: (f / "broken").symlink_to("nowhere"),
    ],
)
def test_what_no_reader_reads_does_not_show(folder: Path, change: Callable[[Path], object]) -> None:
    (folder / "cat").chmod(0o755)
    before = state(folder)
    change(folder)
    assert state(folder) == before


def test_it_can_be_left_out(folder: Path) -> None:
    assert state(folder, watch=False) == state(folder / "none") == ""
