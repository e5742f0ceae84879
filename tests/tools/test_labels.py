import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcc.artifacts.masks import write_mask
from pcc.runtime.errors import InputError
from pcc.tools.labels import labels

EXPECTED = "image_id,labels\na,cat;dog\nb,\n"


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The same labels in every form."""
    for folder in ("xml", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "xml/a.xml").write_text(
        "<annotation><object><name>dog</name></object><object><name>cat</name></object></annotation>"
    )
    (tmp_path / "xml/b.xml").write_text("<annotation/>")
    write_mask(tmp_path / "masks/a.png", np.array([[0, 8, 12]], np.uint8))
    write_mask(tmp_path / "masks/b.png", np.array([[0, 255]], np.uint8))
    (tmp_path / "t.csv").write_text("image_id,what\na,dog cat\nb,\n")
    vector = np.zeros(20, np.float32)
    vector[[7, 11]] = 1
    np.save(tmp_path / "cls_labels.npy", {"a": vector, "b": np.zeros(20, np.float32)})
    images = [{"id": i, "file_name": f"{name}.jpg", "height": 4, "width": 4} for i, name in enumerate("ab")]
    annotations = [
        {"id": i, "image_id": 0, "category_id": category, "segmentation": [[0, 0, 2, 0, 2, 2]]}
        for i, category in enumerate((17, 18, 18))
    ]
    categories = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    return {
        "xml": {"path": str(tmp_path / "xml")},
        "masks": {"path": str(tmp_path / "masks")},
        "csv": {"path": str(tmp_path / "t.csv"), "separator": " "},
        "npy": {"path": str(tmp_path / "cls_labels.npy")},
        "coco": {"path": str(tmp_path / "instances.json")},
    }


@pytest.mark.parametrize("source", ["xml", "masks", "csv", "npy", "coco"])
def test_all_sources_give_the_same_table(sources: dict[str, Any], tmp_path: Path, source: str) -> None:
    labels(tmp_path / "labels.csv", source=source, **sources[source])
    assert (tmp_path / "labels.csv").read_text() == EXPECTED


def test_the_table_is_a_source_again(sources: dict[str, Any], tmp_path: Path) -> None:
    labels(tmp_path / "one.csv", source="npy", **sources["npy"])
    labels(tmp_path / "two.csv", source="csv", path=str(tmp_path / "one.csv"))
    assert (tmp_path / "two.csv").read_text() == EXPECTED


def test_every_bad_entry_is_listed_and_nothing_written(sources: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        labels(tmp_path / "labels.csv", source="xml", classes=["dog"], **sources["xml"])
    assert "unknown class 'cat'" in str(caught.value)
    (tmp_path / "xml/b.xml").write_text("nothing")
    with pytest.raises(InputError) as caught:
        labels(tmp_path / "labels.csv", source="xml", classes=["dog"], **sources["xml"])
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "labels.csv").exists()


def test_settings_that_cannot_be_used(sources: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'runes' is not one of xml, masks, csv, npy, coco"):
        labels(tmp_path / "labels.csv", source="runes", path="x")
    for source in ("xml", "coco"):
        with pytest.raises(InputError, match="unknown setting 'separator'"):
            labels(tmp_path / "labels.csv", source=source, separator=" ", **sources[source])
