import json
import random
import re
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
from pcc.data.checks import find_problems
from pcc.data.manifest import Manifest
from pcc.readers import coco
from pcc.readers.instances import Instances, image_labels
from pcc.readers.run_lengths import ShapeFault, fill, run_lengths
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.ranges import shown

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


@given(things, st.sampled_from(("class", "ignore")), st.randoms(use_true_random=False))
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
TRIANGLE = [1, 1, 6, 1, 6, 6]


def sound() -> dict[str, Any]:
    """An instances JSON without a fault, four images of size SIZE."""
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": SIZE[0], "width": SIZE[1]} for n in range(4)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + 6 * (n % 2), "segmentation": [list(TRIANGLE)]} for n in range(4)
        ],
        "categories": [dict(category) for category in CATEGORIES],
    }


def instances(folder: Path, content: Any) -> Instances:
    path = folder / "instances.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Instances.read(path)


SHAPES = [
    (annotation(9, BLOB[:-1], 1)["segmentation"], r"run-length code is for \[7, 10\], its image is \[8, 10\]"),
    ({"size": None, "counts": [80]}, "run-length code is for null"),
    ({"size": list(SIZE), "counts": [10, 20]}, "covers 30 pixels, its image has 80"),
    ({"size": list(SIZE), "counts": []}, "covers 0 pixels"),
    ({"size": list(SIZE), "counts": [90, -10]}, "holds a length of 90"),
    ({"size": list(SIZE), "counts": [-10, 80, 10]}, "holds a length of -10"),
    ({"size": list(SIZE), "counts": [80, 2**62, 2**62]}, "must be a list of whole numbers"),
    ({"size": list(SIZE), "counts": [40.5, 39.5]}, "must be a list of whole numbers"),
    ({"size": list(SIZE), "counts": [[80]]}, "must be a list of whole numbers"),
    ({"size": list(SIZE), "counts": None}, "no compressed code"),
    ({"size": list(SIZE), "counts": 80}, "no compressed code"),
    ({"size": list(SIZE), "counts": ""}, "no compressed code"),
    ({"size": list(SIZE), "counts": "W0é"}, "no compressed code"),
    ({"size": list(SIZE), "counts": "\ud800"}, "no compressed code"),
    ({"size": list(SIZE), "counts": "80 0"}, "no compressed code"),
    ({"size": list(SIZE), "counts": "0Wo"}, "no compressed code"),  # the last number goes on
    ({"size": list(SIZE), "counts": "o" * 30 + "0"}, "number that is too large"),
    ({"size": list(SIZE), "counts": "000000"}, "covers 0 pixels"),
    ({"counts": [80]}, "run-length code is for null"),
    ({}, "must be polygons or a run-length code"),
    ("[[1, 1, 6, 1, 6, 6]]", "must be polygons or a run-length code"),
    (7, "must be polygons or a run-length code"),
    (TRIANGLE, "must be lists of coordinates"),
    ([TRIANGLE, None], "must be lists of coordinates"),
    ([[1, 1, 2, 2]], "at least three points"),
    ([[]], "at least three points"),
    ([[1, 1, 6, 1, 6, 6, 3]], "at least three points"),
    ([[[1, 1], [6, 1], [6, 6], [1, 6], [2, 2], [3, 3]]], r"holds \[1, 1\]; coordinates must be numbers"),
    ([["1", "1", "6", "1", "6", "6"]], "coordinates must be numbers"),
    ([[True, 1, 6, 1, 6, 6]], "holds true; coordinates must be numbers"),
    ([TRIANGLE, [1, 1, float("nan"), 1, 6, 6]], "has a coordinate nan"),
    ([[1, 1, 6, float("-inf"), 6, 6]], "has a coordinate -inf"),
    ([[1, 1, 6, 1, 10**400, 6]], r"has a coordinate 10+ …"),
    ([[1, 1, 6, 1, 6, 17]], r"has a coordinate 17, its image is \[8, 10\]"),
]


@pytest.mark.parametrize(("shape", "line"), SHAPES)
def test_faulty_shapes_are_one_line_each_and_nothing_else(tmp_path: Path, shape: Any, line: str) -> None:
    content = sound()
    content["annotations"][1]["segmentation"] = shape
    (problem,) = instances(tmp_path, content).problems
    assert re.search(rf"instances\.json: annotation 1: its .*{line}", problem)
    assert problem.endswith("; correct it") and len(problem) < 300
    with pytest.raises(ShapeFault):
        run_lengths(shape, SIZE)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text("0o1WPQ~", max_size=6), st.lists))
def test_whatever_the_counts_are_they_cover_the_image_or_are_refused(counts: Any) -> None:
    try:
        runs = run_lengths({"size": list(SIZE), "counts": counts}, SIZE)
    except ShapeFault:
        return
    assert runs.min() >= 0 and runs.sum() == SIZE[0] * SIZE[1]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32), st.floats(0, 1))
def test_compressed_codes_are_read_as_pycocotools_writes_them(height: int, width: int, seed: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    runs = run_lengths(rle.encode(np.asfortranarray(mask)), (height, width))
    columns = np.zeros(mask.size, np.uint8)
    fill(columns, runs, 1)
    np.testing.assert_array_equal(columns.reshape(width, height).T, mask)


def test_an_outline_is_bounded_before_memory_is_asked_for() -> None:
    polygon = [float(value) for row in range(3000) for value in (0 if row % 2 else 4000, row)]
    with pytest.raises(ShapeFault, match="its polygon is 12000000 pixels long"):
        run_lengths([polygon], (4000, 4000))


ENTRIES = [
    ("images", {"id": None}, "images[1]: its id is null"),
    ("images", {"id": "b"}, "images[1]: its id is 'b'"),
    ("images", {"id": 1.5}, "images[1]: its id is 1.5"),
    ("images", {"id": True}, "images[1]: its id is true"),
    ("images", {"id": 2}, "images: id 2 is there more than once"),
    ("images", {"file_name": None}, "image 1: its file_name is null"),
    ("images", {"file_name": ["1.jpg"]}, "image 1: its file_name is ['1.jpg']"),
    ("images", {"file_name": "../1.jpg"}, "image 1: its file_name '../1.jpg' has a path in it"),
    ("images", {"file_name": "/srv/1.jpg"}, "image 1: its file_name '/srv/1.jpg' has a path in it"),
    ("images", {"file_name": "https://example.org/1.jpg"}, "image 1: its file_name"),
    ("images", {"file_name": "a\nb.jpg"}, "image 1: its file_name"),
    ("images", {"file_name": "\ud800.jpg"}, "image 1: its file_name"),
    ("images", {"file_name": "3.jpg"}, "images: file_name '3.jpg' is there more than once"),
    ("images", {"height": "8"}, "image 1: its height is '8'"),
    ("images", {"height": -8}, "image 1: its height is -8"),
    ("images", {"width": 9.5}, "image 1: its width is 9.5"),
    ("images", {"width": float("nan")}, "image 1: its width is nan"),
    ("images", {"width": 10**300}, "image 1: its width is 1000"),
    ("images", {"height": 90000, "width": 90000}, "image 1: it has 90000 x 90000 pixels"),
    ("categories", {"id": "1"}, "categories[1]: its id is '1'"),
    ("categories", {"id": 90}, "categories: id 90 is there more than once"),
    ("categories", {"name": 5}, "category 1: its name is 5"),
    ("categories", {"name": None}, "category 1: its name is null"),
    ("categories", {"name": ""}, "category 1: its name is ''"),
    ("categories", {"name": "per\nson"}, "category 1: its name is 'per\\nson'"),
    ("categories", {"name": "train"}, "categories: name 'train' is there more than once"),
    ("categories", {"supercategory": ["person"]}, "category 1: its supercategory is ['person']"),
]


@pytest.mark.parametrize(("part", "changes", "line"), ENTRIES)
def test_faulty_images_and_categories_are_one_line_each(
    tmp_path: Path, part: str, changes: dict[str, Any], line: str
) -> None:
    content = sound()
    content[part][1] |= changes
    with pytest.raises(InputError) as caught:
        instances(tmp_path, content)
    (problem,) = caught.value.problems
    assert f"instances.json: {line}" in problem and "; " in problem and "\n" not in problem


ANNOTATIONS = [
    ({"category_id": 8}, "annotation 1: its category 8 is not in 'categories'"),
    ({"category_id": "1"}, "annotation 1: its category_id is '1'"),
    ({"category_id": [1]}, "annotation 1: its category_id is [1]"),
    ({"image_id": 77}, "annotation 1: its image 77 is not in 'images'"),
    ({"image_id": None}, "annotation 1: its image_id is null"),
    ({"image_id": {}}, "annotation 1: its image_id is {}"),
    ({"id": None}, "annotations[1]: its id is null"),
    ({"id": 3}, "annotations: id 3 is there more than once"),
    ({"iscrowd": 2}, "annotation 1: its iscrowd is 2"),
    ({"iscrowd": "0"}, "annotation 1: its iscrowd is '0'"),
    ({"iscrowd": None}, "annotation 1: its iscrowd is null"),
]


@pytest.mark.parametrize(("changes", "line"), ANNOTATIONS)
def test_faulty_annotations_are_one_line_each(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    content = sound()
    content["annotations"][1] |= changes
    (problem,) = instances(tmp_path, content).problems
    assert f"instances.json: {line}" in problem and "; " in problem


def test_a_fault_stands_for_itself_and_nothing_is_painted(tree: Path) -> None:
    bad = annotation(9, BLOB, 1) | {"segmentation": [[1, 1, 2, 2]]}
    change(tree, "train", annotations=[bad, bad | {"id": 10}, annotation(1, BLOB, 1)])
    first, second = find_problems(read(tree))
    assert "annotation 9" in first and "annotation 10" in second
    assert str(path_of(tree, "train")) in first
    assert not (tree.parent / "output").exists()


@pytest.mark.parametrize("entry", [None, 5, "annotation", []])
@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_entries_that_are_no_objects(tmp_path: Path, part: str, entry: Any) -> None:
    content = sound()
    content[part].append(entry)
    if part == "annotations":
        assert f"annotations[4]: it is {shown(entry)}, not an object" in instances(tmp_path, content).problems[0]
    else:
        with pytest.raises(InputError, match=rf"{part}\[[34]\]: it is .*, not an object"):
            instances(tmp_path, content)


def test_many_repeated_ids_are_one_line(tmp_path: Path) -> None:
    content = sound()
    content["annotations"] += [one | {"id": n % 4 + 10} for n in range(8) for one in content["annotations"][:1]]
    content["annotations"] += sound()["annotations"]
    (problem,) = instances(tmp_path, content).problems
    assert "annotations: id 0, 1, 2, 3, 10 and 3 more is there more than once" in problem


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_json_is_read_in_every_encoding_it_may_have(tmp_path: Path, encoding: str) -> None:
    content = sound()
    content["categories"][0]["name"] = "Zahnbürste"
    found = instances(tmp_path, json.dumps(content, ensure_ascii=False).encode(encoding))
    assert found.classes == ("person", "train", "Zahnbürste")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"images": ' * 100_000,
        b'{"images": [' + b"9" * 5000,
        json.dumps(sound()).encode()[:-40],
        '{"images": "ü"}'.encode("latin-1"),
        b"\x00\x01\x02\x03\x04",
        b"images: []",
    ],
)
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"instances\.json: not JSON \(.+\); restore it") as caught:
        instances(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], 5, None, "images", {}, {"images": {}, "annotations": [], "categories": []}])
def test_other_json_is_one_line(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match="not an instances JSON, no list of images"):
        instances(tmp_path, content)


JUNK = [
    None,
    True,
    -1,
    0.5,
    1e308,
    float("nan"),
    10**400,
    "",
    "../x",
    "a\nb",
    "\ud800",
    "x" * 300,
    [],
    [[]],
    {},
    [None],
]


def places(node: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a JSON."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in inside for place in ((*before, key), *places(value, (*before, key)))]


def test_whatever_stands_in_a_json_it_can_be_painted_or_is_refused_in_lines(tmp_path: Path) -> None:
    drawn, outcomes = random.Random(3), set()
    for _ in range(400):
        content = sound()
        content["annotations"][0]["segmentation"] = {"size": list(SIZE), "counts": [10, 20, 50]}
        *way, last = drawn.choice(places(content))
        node = content
        for key in way:
            node = node[key]
        node[last] = drawn.choice(JUNK)
        try:
            found = instances(tmp_path, content)
        except InputError as error:
            problems = error.problems
        else:
            problems = found.problems
            for image in found.images if not problems else ():
                shapes = [one for one in found.annotations[image.number] if image.number not in found.shapeless]
                assert coco.paint(shapes, image.size, found.class_ids).shape == image.size
        outcomes.add("refused" if problems else "painted")
        assert all(problem.isprintable() and len(problem) < 500 for problem in problems)
    assert outcomes == {"painted", "refused"}


def test_whole_numbers_may_be_written_as_floats_and_boxes_are_not_looked_at(tmp_path: Path) -> None:
    plain = instances(tmp_path, sound())
    content = sound()
    for part in content.values():
        for entry in part:
            entry |= {key: float(value) for key, value in entry.items() if isinstance(value, int)}
    for one in content["annotations"]:
        one |= {"bbox": [None, "x", -1], "area": float("nan"), "iscrowd": False, "note": []}
    content["annotations"][0]["segmentation"] = [list(TRIANGLE)]
    found = instances(tmp_path, content)
    assert (found.images, found.class_ids, found.problems) == (plain.images, plain.class_ids, [])
    for image in plain.images:
        masks = [
            coco.paint(one.annotations[image.number], image.size, one.class_ids).tolist() for one in (plain, found)
        ]
        assert masks[0] == masks[1]


@pytest.mark.parametrize("shape", [{}, {"segmentation": None}, {"segmentation": []}])
def test_an_annotation_without_a_shape_is_a_label(
    tree: Path, caplog: pytest.LogCaptureFixture, shape: dict[str, Any]
) -> None:
    bare = {"id": 9, "image_id": 5, "category_id": 7, "bbox": [1, 1, 3, 3]} | shape
    change(tree, "train", annotations=[bare, annotation(1, BLOB, 1)])
    manifest = read(tree)
    assert find_problems(manifest) == []
    assert [(r.image_id, r.labels, r.mask is None, r.scored) for r in manifest.records] == [
        ("train_5", ("person", "train"), True, False),
        ("val_5", ("person", "toothbrush"), False, True),
        ("val_6", (), False, False),
    ]
    assert "annotations without a segmentation (9): their 1 images" in caplog.text
    assert image_labels(path_of(tree, "train"))["train_5"] == ("person", "train")


def test_a_supercategory_that_is_listed_as_a_category_is_told(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        change(tree, split, categories=[*CATEGORIES, {"id": 0, "name": "indoor", "supercategory": "none"}])
    assert read(tree).problems == ()
    (line,) = [line for line in caplog.messages if "supercategory" in line]
    assert "category 'indoor' has no annotations and is the supercategory of others" in line


def test_unusable_files_and_settings(tree: Path) -> None:
    with pytest.raises(InputError, match="crowd: 'half' is not allowed; one of class, ignore"):
        call_with(coco.read, {"root": str(tree), "crowd": "half"}, "dataset.settings", output=tree)
    with pytest.raises(InputError, match="no folder for split val"):
        read(tree, images={"train": "train2014"})
    with pytest.raises(InputError, match="annotations: is empty"):
        read(tree, annotations={})
    with pytest.raises(InputError, match=r"nowhere\.json: file is missing"):
        read(tree, annotations={"train": "nowhere.json"})
    write(tree, "val", {"images": [], "annotations": [], "categories": CATEGORIES[1:]})
    with pytest.raises(InputError, match="its categories are not those of"):
        read(tree)


def test_the_resource_has_80_classes_in_12_groups(request: pytest.FixtureRequest) -> None:
    stored = yaml.safe_load((request.config.rootpath / "resources" / "coco14.yaml").read_text())
    assert (len(stored["classes"]), len(set(stored["classes"])), len(stored["taxonomy"])) == (80, 80, 12)
    assert sorted(name for group in stored["taxonomy"].values() for name in group) == sorted(stored["classes"])
    assert (stored["classes"][0], stored["classes"][-1]) == ("person", "toothbrush")
