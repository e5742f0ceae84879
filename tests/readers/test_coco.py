import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

from pcc.artifacts.masks import read_mask
from pcc.data.manifest import Manifest
from pcc.readers import coco
from pcc.readers.instances import image_labels
from pcc.runtime.errors import InputError, call_with

SIZE = (8, 10)
CLASS_IDS = {1: 1, 7: 2, 90: 3}
CATEGORIES = [
    {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 7, "name": "train", "supercategory": "vehicle"},
]


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths in column order, zeros first, by the format's definition and not by pycocotools."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": runs if flat[0] == 0 else [0, *runs]}


def annotation(number: int, mask: np.ndarray, category: int, crowd: int = 0, image: int = 5) -> dict[str, Any]:
    where = {"id": number, "image_id": image, "category_id": category}
    return where | {"iscrowd": crowd, "segmentation": uncompressed(mask)}


def slow_paint(annotations: list[dict[str, Any]], masks: dict[int, np.ndarray], crowd_id: int | None) -> np.ndarray:
    """Pixel by pixel: an instance beats a crowd, the smaller the larger, the later id the earlier."""
    painted = np.zeros(SIZE, np.uint8)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            here = [a for a in annotations if masks[a["id"]][y, x]]
            if here:
                top = min(here, key=lambda a: (a["iscrowd"], masks[a["id"]].sum(), -a["id"]))
                ignored = top["iscrowd"] and crowd_id is not None
                painted[y, x] = crowd_id if ignored else CLASS_IDS[top["category_id"]]
    return painted


rectangles = st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(1, 8), st.integers(1, 10))
things = st.lists(st.tuples(rectangles, st.sampled_from(list(CLASS_IDS)), st.integers(0, 1)), max_size=6)


@given(things, st.sampled_from(coco.CROWD), st.randoms(use_true_random=False))
def test_painting_equals_a_slow_reference(drawn: list, crowd: str, random: Any) -> None:
    masks, annotations = {}, []
    for number, ((top, left, height, width), category, is_crowd) in enumerate(drawn, 1):
        masks[number] = np.zeros(SIZE, np.uint8)
        masks[number][top : top + height, left : left + width] = 1
        annotations.append(annotation(number, masks[number], category, is_crowd))
    expected = slow_paint(annotations, masks, 255 if crowd == "ignore" else None)
    random.shuffle(annotations)
    np.testing.assert_array_equal(coco.paint(annotations, SIZE, CLASS_IDS, crowd), expected)


def test_polygons_and_compressed_codes_are_decoded() -> None:
    square = {"id": 1, "category_id": 7, "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4], [8, 6, 10, 6, 10, 8, 8, 8]]}
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 2:6] = expected[6:8, 8:10] = 2
    np.testing.assert_array_equal(coco.paint([square], SIZE, CLASS_IDS), expected)
    code = rle.encode(np.asfortranarray(expected // 2))
    code["counts"] = code["counts"].decode()  # as it stands in a JSON
    compressed = {"id": 1, "category_id": 7, "segmentation": code}
    np.testing.assert_array_equal(coco.paint([compressed], SIZE, CLASS_IDS), expected)


def test_nothing_annotated_is_background() -> None:
    assert not coco.paint([], SIZE, CLASS_IDS).any()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "coco14"
    (root / "annotations").mkdir(parents=True)
    blob = np.zeros(SIZE, np.uint8)
    blob[2:4, 3:5] = 1
    for split in ("train", "val"):
        (root / f"{split}2014").mkdir()
        images = []
        for number in (5, 6):
            name = f"{split}_{number}.jpg"
            Image.new("RGB", SIZE[::-1]).save(root / f"{split}2014" / name)
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        annotations = [annotation(1, blob, 90), annotation(2, blob, 1, crowd=1)]  # image 6 has none
        write(root, split, {"images": images, "annotations": annotations, "categories": CATEGORIES})
    return root


def path_of(root: Path, split: str) -> Path:
    return root / f"annotations/instances_{split}2014.json"


def write(root: Path, split: str, content: Any) -> None:
    path_of(root, split).write_text(json.dumps(content))


def change(root: Path, split: str, **changes: Any) -> None:
    write(root, split, json.loads(path_of(root, split).read_text()) | changes)


def read(root: Path, **settings: Any) -> Manifest:
    return coco.read(root.parent / "output", root=str(root), **settings)


def test_ids_are_contiguous_and_images_without_annotations_leave_train_only(tree: Path) -> None:
    manifest = read(tree)
    assert manifest.problems == ()
    assert manifest.dataset.classes == ("person", "train", "toothbrush")
    assert manifest.dataset.taxonomy == {"person": ("person",), "vehicle": ("train",), "indoor": ("toothbrush",)}
    assert [(r.image_id, r.split, r.labels) for r in manifest.records] == [
        ("train_5", "train", ("person", "toothbrush")),
        ("val_5", "val", ("person", "toothbrush")),
        ("val_6", "val", ()),
    ]
    assert [manifest.class_ids(r) for r in manifest.records] == [[1, 3], [1, 3], []]
    mask = read_mask(manifest.records[0].mask)
    assert (mask.shape, np.unique(mask).tolist(), mask[2, 3]) == (SIZE, [0, 3], 3)  # the crowd lies under the object


def test_whole_masks_are_kept_and_changed_annotations_repainted(tree: Path) -> None:
    first = read(tree).records[0].mask
    assert first is not None
    stamp = first.stat().st_mtime_ns
    other = read(tree).records[1].mask
    assert other is not None
    other.unlink()
    again = read(tree).records
    assert again[0].mask == first
    assert first.stat().st_mtime_ns == stamp
    assert other.is_file()
    change(tree, "train", annotations=[annotation(1, np.ones(SIZE, np.uint8), 7)])
    repainted = read(tree).records[0].mask
    assert repainted is not None
    assert np.unique(read_mask(repainted)).tolist() == [2]
    assert [path for path in (tree.parent / "output").rglob(".*") if path.is_file()] == []


def test_crowds_can_be_ignored(tree: Path) -> None:
    wide = np.ones(SIZE, np.uint8)
    change(tree, "train", annotations=[annotation(2, wide, 1, crowd=1)])
    for crowd, value in {"class": 1, "ignore": 255}.items():
        mask = read(tree, crowd=crowd).records[0].mask
        assert mask is not None
        assert np.unique(read_mask(mask)).tolist() == [value]


def test_labels_alone(tree: Path) -> None:
    assert image_labels(path_of(tree, "val")) == {"val_5": ("person", "toothbrush"), "val_6": ()}


BLOB = np.ones(SIZE, np.uint8)


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (annotation(9, BLOB, 8), "annotation 9: its category 8 is not in 'categories'"),
        (annotation(9, BLOB, 1, image=77), "annotation 9: its image 77 is not in 'images'"),
        (annotation(9, BLOB[:-1], 1), r"annotation 9: its run-length code is for \[7, 10\], its image is \[8, 10\]"),
        ({"id": 9, "image_id": 5, "category_id": 1, "segmentation": [[1, 1, 2, 2]]}, "annotation 9: its polygons"),
        ({"id": 9, "image_id": 5, "category_id": 1, "segmentation": []}, "annotation 9: its polygons"),
        ({"id": 9, "image_id": 5, "category_id": 1}, "annotation 9: segmentation missing"),
    ],
)
def test_faulty_annotations_are_listed_and_nothing_is_painted(tree: Path, bad: dict[str, Any], line: str) -> None:
    change(tree, "train", annotations=[bad, bad | {"id": 10}, annotation(1, BLOB, 1)])
    first, second = read(tree).problems
    with pytest.raises(InputError, match=line):
        raise InputError(first)
    assert "annotation 10" in second
    assert str(path_of(tree, "train")) in first
    assert not (tree.parent / "output").exists()


def test_unusable_files_and_settings(tree: Path) -> None:
    with pytest.raises(InputError, match="crowd: 'half' is not allowed; one of class, ignore"):
        call_with(coco.read, {"root": str(tree), "crowd": "half"}, "dataset.settings", output=tree)
    with pytest.raises(InputError, match="no folder for split val"):
        read(tree, images={"train": "train2014"})
    with pytest.raises(InputError, match=r"nowhere\.json: file is missing"):
        read(tree, annotations={"train": "nowhere.json"})
    path_of(tree, "val").write_text("{")
    with pytest.raises(InputError, match=r"instances_val2014\.json: not JSON"):
        read(tree)
    write(tree, "val", [])
    with pytest.raises(InputError, match="no list of images, annotations, categories"):
        read(tree)
    write(tree, "val", {"images": [{"id": 1}], "annotations": [], "categories": []})
    with pytest.raises(InputError, match="not an instances JSON \\('height' in images or categories\\)"):
        read(tree)
    write(tree, "val", {"images": [], "annotations": [], "categories": CATEGORIES[1:]})
    with pytest.raises(InputError, match="its categories are not those of"):
        read(tree)


def test_the_resource_has_80_classes_in_12_groups(request: pytest.FixtureRequest) -> None:
    stored = yaml.safe_load((request.config.rootpath / "resources" / "coco14.yaml").read_text())
    assert (len(stored["classes"]), len(set(stored["classes"])), len(stored["taxonomy"])) == (80, 80, 12)
    assert sorted(name for group in stored["taxonomy"].values() for name in group) == sorted(stored["classes"])
    assert (stored["classes"][0], stored["classes"][-1]) == ("person", "toothbrush")
