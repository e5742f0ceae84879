"""Real PASCAL VOC 2012 images and every label source they come with."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest
from pcc.readers import voc
from pcc.readers.label_arrays import read_label_arrays
from pcc.stages.prepare import prepare

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest) -> Path:
    folder = request.config.rootpath.parent / "shared" / "data" / "voc12_mini"
    if not folder.is_dir():
        pytest.skip("the VOC 2012 sample ../shared/data/voc12_mini is not here")
    return Path(os.path.relpath(folder))


def read(root: Path, source: str, **settings: Any) -> Manifest:
    labels = {
        "csv": {"path": str(root / "image_labels.csv"), "separator": " "},
        "npy": {"path": str(root / "cls_labels.npy")},
        "masks": {},
    }
    return voc.read(Path("unused"), root=str(root), labels={"source": source, **labels[source]}, **settings)


def test_the_table_and_the_fields_own_file_agree(root: Path) -> None:
    table, vectors = read(root, "csv"), read(root, "npy")
    assert table.problems == vectors.problems == ()
    assert table.records == vectors.records
    assert [sum(r.split == split for r in table.records) for split in ("train", "val")] == [400, 200]


def test_the_restricted_reader_reads_what_numpy_does(root: Path) -> None:
    ours = read_label_arrays(root / "cls_labels.npy")
    # The sample is ours to trust; a file from elsewhere is not.
    theirs = np.load(root / "cls_labels.npy", allow_pickle=True).item()
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[image_id], vector) for image_id, vector in theirs.items())


def test_a_class_with_pixels_is_a_class_with_a_tag(root: Path) -> None:
    tagged = {r.image_id: set(r.labels) for r in read(root, "csv").records}
    for record in read(root, "masks").records:
        assert set(record.labels) <= tagged[record.image_id]


def test_masks_fit_their_images(root: Path) -> None:
    manifest = read(root, "csv", score_train="train")
    assert sum(r.scored for r in manifest.select("train")) == 64
    for record in manifest.records[::40]:
        assert record.mask is not None
        assert read_mask(record.mask).shape == read_image(record.image).shape[:2]


def test_the_sample_passes_every_check(root: Path, tmp_path: Path) -> None:
    prepare(
        tmp_path,
        name="voc12_mini",
        format="voc",
        settings={"root": str(root), "labels": {"source": "npy", "path": str(root / "cls_labels.npy")}},
        shards={"train": 4, "val": 2},
        threads=2,
    )
    manifest = Manifest.read(tmp_path / "manifest.csv")
    assert [len(manifest.select("train", f"00{shard}")) for shard in range(4)] == [100] * 4
