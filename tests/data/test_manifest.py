from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcc.data.image_ids import fault
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.errors import InputError

NAMES = ("cat", "hair drier", "dog, large", 'the "best"')
DATASET = Dataset("pets", NAMES, {"animals": ("cat", "dog, large"), "things": ("hair drier", 'the "best"')}, ("cat",))
ids = st.text(st.characters(min_codepoint=32), min_size=1, max_size=12).filter(lambda one: fault(one) is None)


@given(
    st.lists(
        st.tuples(ids, st.sets(st.sampled_from(NAMES)), st.booleans(), st.sampled_from(("train", "val"))), max_size=8
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    records = tuple(
        Record(
            image_id,
            Path("images") / "a.png",
            tuple(sorted(labels)),
            Path("m.png") if masked else None,
            split,
            "003",
            masked,
        )
        for image_id, labels, masked, split in rows
    )
    Manifest(DATASET, records).write(folder)
    assert Manifest.read(folder / "manifest.csv") == Manifest(DATASET, records)


def manifest() -> Manifest:
    return Manifest(
        DATASET,
        (
            Record("a", Path("a.png"), ("dog, large", "cat"), None, "train", "000"),
            Record("b", Path("b.png"), (), None, "train", "001"),
            Record("c", Path("c.png"), ("hair drier",), None, "val", "000"),
        ),
    )


def test_vector_index_i_is_class_id_i_plus_1() -> None:
    both, nothing, _ = manifest().records
    assert manifest().class_ids(both) == [1, 3]
    vector = manifest().image_labels(both)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1, 0, 1, 0]
    assert manifest().image_labels(nothing).tolist() == [0, 0, 0, 0]
    assert (DATASET.num_foreground, DATASET.num_classes) == (4, 5)


def test_select_by_split_and_shard() -> None:
    assert [r.image_id for r in manifest().select()] == ["a", "b", "c"]
    assert [r.image_id for r in manifest().select("train")] == ["a", "b"]
    assert [r.image_id for r in manifest().select("train", "001")] == ["b"]
    with pytest.raises(InputError, match="no image in split val, shard 007"):
        manifest().select("val", "007")


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    manifest().write(tmp_path)
    read = partial(Manifest.read, tmp_path / "manifest.csv")
    assert read("train", "001").records == manifest().records[1:2]
    assert read("val").records == manifest().records[2:]
    with pytest.raises(InputError, match="no image in split val, shard 007"):
        read("val", "007")


def test_all_classes_are_scored_when_none_is_named() -> None:
    assert Dataset("d", ("a", "b")).eval_classes == ("a", "b")


@pytest.mark.parametrize(
    ("classes", "scored", "line"),
    [
        ((), (), "0 classes; give 1 to 254"),
        (tuple(f"c{i}" for i in range(255)), (), "255 classes"),
        (("cat", "cat"), (), "'cat' is listed more than once"),
        (("a;b",), (), "'a;b' is reserved"),
        (("background",), (), "'background' is reserved"),
        ((" cat",), (), "blanks"),
        (("cat",), ("dog",), "eval_classes names 'dog'"),
    ],
)
def test_bad_class_lists_are_refused(classes: tuple[str, ...], scored: tuple[str, ...], line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        Dataset("d", classes, None, scored)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image_id,image\na,a.png\n", "line 1: column labels, mask, split, shard, scored is missing"),
        (
            "image_id,image,labels,mask,split,shard,scored\na,a.png,cow,,train,000,1\n",
            "line 2: labels not in dataset.json: cow",
        ),
        ("image_id,image,labels,mask,split,shard,scored\na,a.png,cat,,test,000,1\n", "line 2: split 'test'"),
        ("image_id,image,labels,mask,split,shard,scored\n../a,a.png,cat,,train,000,1\n", "line 2: image id '../a' has"),
        ("image_id,image,labels,mask,split,shard,scored\n__metadata__,a.png,cat,,train,000,1\n", "is reserved; run"),
        ('image_id,image,labels,mask,split,shard,scored\n"a\nb",a.png,cat,,train,000,1\n', r"image id 'a\\nb' is"),
        (
            "image_id,image,labels,mask,split,shard,scored\na,a.png,cat,,train,000,yes\n",
            "line 2: scored 'yes' is not 0 or",
        ),
        ("image_id,image,labels,mask,split,shard,scored\na,a.png\n", "line 2: row does not have 7 cells"),
        ("image_id,image,labels,mask,split,shard,scored\na,a.png,c\xe4t,,train,000,1\n", "not a UTF-8 CSV"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    manifest().write(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=line):
        Manifest.read(tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"name": "pets"}',
        '{"name": 5, "classes": ["cat"], "taxonomy": null, "eval_classes": []}',
        '{"name": "pets", "classes": "cat", "taxonomy": null, "eval_classes": []}',
        '{"name": "pets", "classes": ["cat", 1], "taxonomy": null, "eval_classes": []}',
        '{"name": "pets", "classes": ["cat"], "taxonomy": [], "eval_classes": []}',
        '{"name": "pets", "classes": ["cat"], "taxonomy": {"animals": "cat"}, "eval_classes": []}',
        '{"name": "pets", "classes": ["cat"], "taxonomy": null, "eval_classes": {}}',
    ],
)
def test_a_damaged_description_is_one_line(tmp_path: Path, text: str) -> None:
    manifest().write(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: .*run ") as caught:
        Manifest.read(tmp_path / "manifest.csv")
    assert len(str(caught.value).splitlines()) == 1


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.json: file is missing"):
        Manifest.read(tmp_path / "manifest.csv")
    manifest().write(tmp_path)
    (tmp_path / "manifest.csv").unlink()
    with pytest.raises(InputError, match=r"manifest\.csv: file is missing"):
        Manifest.read(tmp_path / "manifest.csv")
