import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Manifest
from pcc.runtime.errors import InputError
from pcc.stages.prepare import prepare


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images with masks, prepared."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rows = ["image,tags,split"]
    for number, split in enumerate(("train", "val")):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/p{number}.bmp")
        write_mask(Path(f"masks/p{number}.png"), np.eye(8, 9, dtype=np.uint8))
        rows.append(f"p{number}.bmp,cat,{split}")
    Path("tags.csv").write_text("\n".join(rows))
    return tmp_path


def prepared(verify: str) -> Path:
    settings = {"images": "photos", "tags": "tags.csv", "masks": "masks", "split_column": "split"}
    prepare(Path("data"), name="d", format="folder", settings=settings, shards={}, verify=verify)
    return Path("data/manifest.csv")


def other_pixels(path: Path) -> None:
    Image.new("RGB", (9, 8), "red").save(path)  # a BMP of the same size in bytes


def by_an_older_file(path: Path) -> None:
    other_pixels(path.with_name("old.bmp"))
    os.utime(path.with_name("old.bmp"), (1, 1))
    path.with_name("old.bmp").rename(path)


@pytest.mark.parametrize(
    ("verify", "change", "line"),
    [
        ("full", lambda: other_pixels(Path("photos/p0.bmp")), r"photos/p0.bmp \(changed\); run it again"),
        ("full", lambda: by_an_older_file(Path("photos/p0.bmp")), r"photos/p0.bmp \(changed\)"),
        ("full", lambda: Path("photos/p1.bmp").unlink(), r"photos/p1.bmp \(missing\)"),
        ("full", lambda: Image.new("RGB", (30, 30)).save("photos/p0.bmp"), r"\(changed\)"),
        ("full", lambda: write_mask(Path("masks/p0.png"), np.ones((8, 9), np.uint8)), r"masks/p0.png \(changed\)"),
        ("headers", lambda: Image.new("RGB", (30, 30)).save("photos/p0.bmp"), r"photos/p0.bmp \(changed\)"),
        ("headers", lambda: Path("photos/p0.bmp").unlink(), r"photos/p0.bmp \(missing\)"),
        ("full", lambda: shutil.rmtree("photos"), r"p0.bmp \(missing\), photos/p1.bmp \(missing\); run"),
    ],
)
def test_what_changed_after_prepare_is_one_line(
    data: Path, verify: str, change: Callable[[], object], line: str
) -> None:
    manifest = prepared(verify)
    change()
    with pytest.raises(InputError, match=line) as caught:
        Manifest.read(manifest, unchanged=["image", "mask"])
    assert len(caught.value.problems) == 1
    Manifest.read(manifest)  # what reads no image does not mind


@pytest.mark.parametrize(
    "change",
    [
        lambda: os.utime("photos/p0.bmp"),
        lambda: [shutil.copy("photos/p0.bmp", "copy.bmp"), Path("copy.bmp").replace("photos/p0.bmp")],
        lambda: shutil.copy("photos/p0.bmp", "photos/p2.bmp"),
    ],
)
def test_a_copy_is_no_change(data: Path, change: Callable[[], object]) -> None:
    manifest = prepared("full")
    change()
    assert len(Manifest.read(manifest, unchanged=["image", "mask"]).records) == 2


def test_an_older_manifest_has_no_stamps_and_is_read(data: Path) -> None:
    manifest = prepared("full")
    rows = [line.rsplit(",", 2)[0] for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(rows) + "\n")
    assert Manifest.read(manifest, unchanged=["image"]).records[0].image_stamp == ""
