from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pcc.artifacts.masks import write_mask
from pcc.data.checks import find_problems
from pcc.data.manifest import Manifest
from pcc.readers import voc
from pcc.runtime.errors import InputError

TRAIN, AUGMENTED, VAL = ("t1", "t2"), ("t1", "t2", "a1"), ("v1",)
TAGS = {"t1": ("cat", "dog"), "t2": ("person",), "a1": ("dog",), "v1": ("cat",)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A VOC tree whose four label sources agree; the mask of a1 is missing."""
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "Annotations"):
        (root / folder).mkdir(parents=True)
    for name, image_ids in {"train": TRAIN, "train_aug": AUGMENTED, "val": VAL}.items():
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("".join(f"{i}\n" for i in image_ids) + "\n")
    for image_id, names in TAGS.items():
        Image.new("RGB", (6, 4)).save(root / f"JPEGImages/{image_id}.jpg")
        mask = np.zeros((4, 6), np.uint8)
        mask[0, : len(names)] = [voc.CLASSES.index(name) + 1 for name in names]
        mask[1, 0] = 255
        if image_id != "a1":
            write_mask(root / f"SegmentationClass/{image_id}.png", mask)
        objects = "".join(f"<object><name>{name}</name></object>" for name in names)
        (root / f"Annotations/{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "labels.csv").write_text("image_id,classes\n" + "".join(f"{i},{' '.join(n)}\n" for i, n in TAGS.items()))
    vectors = {i: np.array([c in n for c in voc.CLASSES], np.float32) for i, n in TAGS.items()}
    np.save(root / "cls_labels.npy", vectors)
    return root


def read(tree: Path, labels: dict[str, Any], **settings: Any) -> Manifest:
    return voc.read(tree.parent / "output", root=str(tree), labels=labels, **settings)


@pytest.mark.parametrize("source", ["xml", "csv", "npy"])
def test_label_sources_agree(tree: Path, source: str) -> None:
    path = {"csv": {"path": str(tree / "labels.csv"), "separator": " "}, "npy": {"path": str(tree / "cls_labels.npy")}}
    manifest = read(tree, {"source": source, **path.get(source, {})})
    assert manifest.problems == ()
    assert {r.image_id: r.labels for r in manifest.records} == TAGS
    assert [r.split for r in manifest.records] == ["train"] * 3 + ["val"]
    assert all(record.image.is_file() for record in manifest.records)


def test_labels_from_masks_where_there_are_masks(tree: Path) -> None:
    manifest = read(tree, {"source": "masks"})
    assert {r.image_id: r.labels for r in manifest.records} == {i: n for i, n in TAGS.items() if i != "a1"}
    (problem,) = manifest.problems
    assert "train_aug.txt line 3: training image a1 has no entry in the label source" in problem


def test_a_tree_without_annotations_takes_other_sources(tree: Path) -> None:
    for path in (tree / "Annotations").iterdir():
        path.unlink()
    (tree / "Annotations").rmdir()
    assert read(tree, {"source": "npy", "path": str(tree / "cls_labels.npy")}).problems == ()
    with pytest.raises(InputError, match="Annotations: folder of labels is missing"):
        read(tree, {"source": "xml"})


def test_only_the_named_training_masks_are_scored(tree: Path) -> None:
    (tree / "ImageSets/Segmentation/train.txt").write_text("t2\n")
    everything = read(tree, {"source": "xml"})
    assert [r.scored for r in everything.records] == [True, True, False, True]  # a1 has no mask
    assert everything.records[2].mask is None
    some = read(tree, {"source": "xml"}, score_train="train")
    assert [r.scored for r in some.records] == [False, True, False, True]


def test_other_lists_and_classes(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a1\n")
    (tmp_path / "classes.yaml").write_text(
        yaml.dump({"classes": ["dog", "cat", "person"], "taxonomy": {"pets": ["dog", "cat"]}})
    )
    splits = {"train": str(tmp_path / "mine.txt"), "val": "train"}
    manifest = read(tree, {"source": "xml"}, splits=splits, classes=str(tmp_path / "classes.yaml"))
    assert [(r.image_id, r.split, manifest.class_ids(r)) for r in manifest.records] == [
        ("a1", "train", [1]),
        ("t1", "val", [1, 2]),
        ("t2", "val", [3]),
    ]
    assert manifest.dataset.taxonomy == {"pets": ("dog", "cat")}


def test_an_id_with_a_path_opens_nothing(tree: Path) -> None:
    (tree / "ImageSets/Segmentation/val.txt").write_text("../JPEGImages/v1\n")
    record = read(tree, {"source": "xml"}).records[-1]
    assert (record.labels, record.mask) == ((), None)


def test_unlisted_validation_labels_are_empty(tree: Path) -> None:
    (tree / "Annotations/v1.xml").unlink()
    manifest = read(tree, {"source": "xml"})
    assert manifest.problems == ()
    assert manifest.records[-1].labels == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_as_other_programs_write_them(tree: Path, encoding: str, end: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    content = (mark + "".join(f" {image_id} {end}" for image_id in AUGMENTED) + end).encode(encoding)
    (tree / "ImageSets/Segmentation/train_aug.txt").write_bytes(content)
    manifest = read(tree, {"source": "xml"})
    assert manifest.problems == ()
    assert [r.image_id for r in manifest.records] == [*AUGMENTED, *VAL]


@pytest.mark.parametrize("content", ["t1\nä\n".encode("latin-1"), b"\xff\xfet", b"\x80\x81\n", b"t1\n\xc3"])
def test_lists_in_unknown_encodings_are_one_line(tree: Path, content: bytes) -> None:
    (tree / "ImageSets/Segmentation/val.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"val\.txt: not text in UTF-8 \(.+\); save it as UTF-8") as caught:
        read(tree, {"source": "xml"})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("t1\nt1\n", "line 2: image id t1 is there twice, first at"),
        ("t1\nT1\n", "image ids T1 and t1"),
        ("t1\nghost\n", "training image ghost has no entry in the label source"),
        ("/JPEGImages/t1.jpg /SegmentationClassAug/t1.png\n", "has a path in it"),
        ("t1.jpg\n", "training image t1.jpg has no entry in the label source"),
        ("t1\0\n", "control characters"),
    ],
)
def test_faulty_lists_are_one_line(tree: Path, lines: str, line: str) -> None:
    (tree / "ImageSets/Segmentation/train_aug.txt").write_text(lines)
    (tree / "Annotations/T1.xml").write_text("<annotation><object><name>cat</name></object></annotation>")
    (tree / "JPEGImages/T1.png").write_bytes((tree / "JPEGImages/t1.jpg").read_bytes())
    (problem,) = [p for p in find_problems(read(tree, {"source": "xml"})) if "has no labels" not in p]
    assert line in problem


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".tif", ".WEBP"])
def test_images_may_have_other_suffixes(tree: Path, suffix: str) -> None:
    for image in (tree / "JPEGImages").iterdir():
        with Image.open(image) as opened:
            opened.save(image.with_suffix(suffix))
        image.unlink()
    manifest = read(tree, {"source": "xml"})
    assert find_problems(manifest) == []
    assert {record.image.suffix for record in manifest.records} == {suffix}


@pytest.mark.parametrize(
    ("labels", "settings", "line"),
    [
        ({"source": "tarot"}, {}, "source 'tarot' is not one of xml, masks, csv, npy"),
        ({}, {}, "source 'None' is not one of"),
        ({"source": "npy"}, {}, "setting 'path' is missing"),
        ({"source": "xml", "separator": " "}, {}, "unknown setting 'separator'"),
        ({"source": "xml"}, {"splits": {"train": "nowhere"}}, r"nowhere\.txt: list of image ids is missing"),
        ({"source": "xml"}, {"score_train": "nowhere"}, r"nowhere\.txt: list of image ids is missing"),
        ({"source": "xml"}, {"classes": "nowhere.yaml"}, r"nowhere\.yaml: class list is missing"),
    ],
)
def test_settings_that_cannot_be_used(tree: Path, labels: dict[str, Any], settings: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        read(tree, labels, **settings)
    assert len(caught.value.problems) == 1


def test_the_resource_says_the_same(request: pytest.FixtureRequest) -> None:
    stored = yaml.safe_load((request.config.rootpath / "resources" / "voc12.yaml").read_text())
    assert tuple(stored["classes"]) == voc.CLASSES
    assert {group: tuple(names) for group, names in stored["taxonomy"].items()} == voc.TAXONOMY
    assert (voc.CLASSES[0], voc.CLASSES[14], voc.CLASSES[19], len(voc.CLASSES)) == (
        "aeroplane",
        "person",
        "tvmonitor",
        20,
    )
    assert set(stored["readable"]) <= set(voc.CLASSES)
