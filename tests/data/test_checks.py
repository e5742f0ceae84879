import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pcc.artifacts.masks import write_mask
from pcc.data import checks
from pcc.data.checks import find_problems
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.errors import InputError

DATASET = Dataset("pets", ("cat", "dog"))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two sound images; the second lies on its side and is turned by EXIF."""
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (6, 4)).save(tmp_path / "b.jpg", exif=exif)
    write_mask(tmp_path / "a_mask.png", np.full((4, 6), 255, np.uint8))
    write_mask(tmp_path / "b_mask.png", np.full((6, 4), 2, np.uint8))
    return Manifest(
        DATASET,
        (
            Record("a", tmp_path / "a.png", ("cat",), tmp_path / "a_mask.png", "train", where="t.csv line 2"),
            Record("b", tmp_path / "b.jpg", (), tmp_path / "b_mask.png", "val", where="t.csv line 3"),
        ),
    )


def changed(manifest: Manifest, index: int, **changes: Any) -> Manifest:
    records = list(manifest.records)
    records[index] = replace(records[index], **changes)
    return replace(manifest, records=tuple(records))


@pytest.mark.parametrize("verify", checks.VERIFY)
def test_a_sound_data_set_has_no_problems(manifest: Manifest, verify: str) -> None:
    assert find_problems(manifest, verify=verify) == []


def only(problems: list[str]) -> str:
    (problem,) = problems
    return problem


def test_unknown_class_suggests_the_nearest(manifest: Manifest) -> None:
    problem = only(find_problems(changed(manifest, 0, labels=("cat", "Dgo"))))
    assert problem.startswith("t.csv line 2: unknown class 'Dgo', did you mean 'dog'?")


def test_training_images_need_labels_unless_allowed(manifest: Manifest) -> None:
    unlabelled = changed(manifest, 0, labels=())
    assert only(find_problems(unlabelled)).startswith("t.csv line 2: training image a has no labels")
    assert find_problems(unlabelled, allow_unlabelled=True) == []


def test_duplicate_ids_name_both_places(manifest: Manifest) -> None:
    again = replace(manifest.records[0], split="val", where="t.csv line 4")
    problem = only(find_problems(replace(manifest, records=(*manifest.records, again))))
    assert problem == "t.csv line 4: image id a is there twice, first at t.csv line 2 (split train); keep one"


@pytest.mark.parametrize("other", ["A", "\u212b", "\u00c5"])
def test_ids_that_some_file_systems_do_not_tell_apart(manifest: Manifest, other: str) -> None:
    name = "a" if other == "A" else "a\u030a"
    record = replace(manifest.records[0], image_id=name)
    again = replace(record, image_id=other, where="t.csv line 4")
    problem = only(find_problems(replace(manifest, records=(record, manifest.records[1], again))))
    assert problem.startswith(f"t.csv line 4: image ids {other} and {name} (t.csv line 2 (split train)) differ only")


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"na\xefve\nname"])
def test_names_in_another_encoding_are_one_line(manifest: Manifest, tmp_path: Path, name: bytes) -> None:
    named = os.fsdecode(name)
    problem = only(find_problems(changed(manifest, 0, image_id=named, where=f"photos/{named}.jpg")))
    assert "is not UTF-8; use a plain file name" in problem and problem.isprintable()
    folder = tmp_path / named
    folder.mkdir()
    (tmp_path / "a.png").rename(folder / "a.png")
    problem = only(find_problems(changed(manifest, 0, image=folder / "a.png")))
    assert problem == "t.csv line 2: the path of image a or of its mask is not UTF-8; rename the folder"


def test_an_id_with_a_path_is_refused_and_its_files_left_alone(manifest: Manifest) -> None:
    problem = only(find_problems(changed(manifest, 0, image_id="../a", image=Path("/nowhere"), labels=())))
    assert problem.startswith("t.csv line 2: image id '../a' has a path in it")


def test_empty_and_unknown_splits(manifest: Manifest) -> None:
    assert only(find_problems(changed(manifest, 1, split="train", labels=("dog",)))) == (
        "data set pets: split val is empty; give it an image, or split otherwise"
    )
    renamed, empty = find_problems(changed(manifest, 1, split="test"))
    assert renamed.startswith("t.csv line 3: split 'test' is not one of train, val")
    assert "split val is empty" in empty


def test_masks_must_fit_the_turned_image(manifest: Manifest, tmp_path: Path) -> None:
    write_mask(tmp_path / "b_mask.png", np.zeros((4, 6), np.uint8))
    for verify in checks.VERIFY:
        problem = only(find_problems(manifest, verify=verify))
        assert "b_mask.png: mask is 6x4 pixels, its image (EXIF orientation applied) 4x6" in problem


def test_mask_values_must_be_classes(manifest: Manifest, tmp_path: Path) -> None:
    write_mask(tmp_path / "a_mask.png", np.array([[0, 1, 2, 3, 21, 255]] * 4, np.uint8))
    problem = only(find_problems(manifest))
    assert problem.startswith("t.csv line 2: ")
    assert problem.endswith("mask holds 3, 21; class ids are 0..2 and 255 (ignore)")


def test_a_colour_mask_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a_mask.png")
    assert "mask has mode RGB" in only(find_problems(manifest))


def test_everything_is_listed_at_once_in_the_order_of_the_rows(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a_mask.png").unlink()
    (tmp_path / "b.jpg").unlink()
    bad = replace(changed(manifest, 0, labels=("cow",)), problems=("the reader's own",))
    expected = [
        "the reader's own",
        "unknown class 'cow'",
        "a.png: file is empty",
        "a_mask.png: file is missing",
        "b.jpg: file is missing",
    ]
    for threads in (1, 4):
        problems = find_problems(bad, threads=threads)
        assert len(problems) == len(expected)
        assert all(part in problem for part, problem in zip(expected, problems, strict=True))


def test_headers_do_not_see_damage_further_on(manifest: Manifest, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "b.jpg")
    write_mask(tmp_path / "b_mask.png", np.zeros((64, 64), np.uint8))
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:-900])
    assert find_problems(manifest, verify="headers") == []
    assert "b.jpg: image cannot be read" in only(find_problems(manifest))


def test_threads_open_images_at_the_same_time(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is done before all are begun."""
    all_begun = threading.Barrier(9, timeout=60)

    def meet(record: Record) -> tuple[int, int]:
        all_begun.wait()
        return (4, 6)

    monkeypatch.setitem(checks.VERIFY, "full", meet)
    records = (manifest.records[i > 0] for i in range(9))
    many = tuple(replace(record, image_id=str(i), mask=None) for i, record in enumerate(records))
    assert find_problems(replace(manifest, records=many), threads=9) == []


def test_unknown_verify_is_refused(manifest: Manifest) -> None:
    with pytest.raises(InputError, match="'deep' is not one of full, headers"):
        find_problems(manifest, verify="deep")
