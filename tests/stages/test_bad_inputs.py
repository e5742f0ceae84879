"""What a user can get wrong before training: each mistake is one clear line, exit code 2, and no artifact."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pcc.artifacts.masks import write_mask
from pcc.cli import app

TABLE = ("image,tags,split", "a.png,cat,train", "b.png,dog,train", "c.png,cat;dog,val")


class Case:
    """A sound folder data set, for a test to spoil."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.table = list(TABLE)
        self.dataset: dict[str, Any] = {
            "name": "mine",
            "format": "folder",
            "settings": {
                "images": str(home / "images"),
                "tags": str(home / "tags.csv"),
                "masks": str(home / "masks"),
                "split_column": "split",
                "classes": ["cat", "dog"],
            },
            "shards": {"train": 1, "val": 1},
        }
        for folder in ("images", "masks"):
            (home / folder).mkdir()
        for row in TABLE[1:]:
            name, tags, _ = row.split(",")
            Image.effect_noise((32, 24), 60).convert("RGB").save(home / "images" / name)
            mask = np.zeros((24, 32), np.uint8)
            mask[0, : len(tags.split(";"))] = [1 + ("cat", "dog").index(tag) for tag in tags.split(";")]
            write_mask(home / "masks" / name, mask)

    def prepare(self) -> tuple[int, list[str]]:
        """Exit code and the lines on standard error, progress left out."""
        (self.home / "tags.csv").write_text("\n".join(self.table) + "\n")
        done = CliRunner().invoke(
            app, ["prepare", "--settings", json.dumps(self.dataset), "--output", str(self.home / "data")]
        )
        return done.exit_code, [line for line in done.stderr.splitlines() if line.startswith("pcc prepare: ")]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


Spoil = Callable[[Case], Any]


def set_row(line: int, row: str) -> Spoil:
    def spoil(case: Case) -> None:
        case.table[line - 1 :] = [row, *case.table[line:]]

    return spoil


def set_setting(**changes: Any) -> Spoil:
    return lambda case: case.dataset["settings"].update(changes)


def set_dataset(**changes: Any) -> Spoil:
    return lambda case: case.dataset.update(changes)


def write(name: str, content: bytes) -> Spoil:
    return lambda case: (case.home / name).write_bytes(content)


def halve(name: str) -> Spoil:
    def spoil(case: Case) -> None:
        content = (case.home / name).read_bytes()
        (case.home / name).write_bytes(content[: len(content) // 2])

    return spoil


def remove(name: str) -> Spoil:
    return lambda case: (case.home / name).unlink()


def spoil_mask(mask: np.ndarray) -> Spoil:
    return lambda case: write_mask(case.home / "masks/a.png", mask)


BAD_INPUTS: dict[str, tuple[Spoil, list[str]]] = {
    "unreadable image": (
        write("images/a.png", b"no image"),
        ["tags.csv line 2: ", "images/a.png: image cannot be read"],
    ),
    "truncated image": (halve("images/b.png"), ["tags.csv line 3: ", "images/b.png: image cannot be read"]),
    "zero bytes": (write("images/c.png", b""), ["tags.csv line 4: ", "images/c.png: file is empty (0 bytes); restore"]),
    "missing image": (remove("images/a.png"), ["tags.csv line 2: ", "images/a.png: file is missing; restore"]),
    "mask of another size": (
        spoil_mask(np.zeros((32, 24), np.uint8)),
        ["tags.csv line 2: ", "mask is 24x32 pixels", "32x24; make"],
    ),
    "mask values": (
        spoil_mask(np.full((24, 32), 3, np.uint8)),
        ["masks/a.png: mask holds 3; class ids are 0..2 and 255"],
    ),
    "damaged mask": (halve("masks/b.png"), ["tags.csv line 3: ", "masks/b.png: mask cannot be read", "restore"]),
    "no labels in train": (
        set_row(2, "a.png,,train"),
        ["tags.csv line 2: training image a has no labels", "allow_unlabelled: true"],
    ),
    "unknown class": (
        set_row(3, "b.png,dgo,train"),
        ["tags.csv line 3: unknown class 'dgo', did you mean 'dog'?", "correct it"],
    ),
    "duplicate id": (
        set_row(4, "a.png,dog,val\nc.png,cat,val"),
        ["tags.csv line 4: image id a is there twice, first at", "line 2 (split train)"],
    ),
    "id with a path": (set_row(2, "../a.png,cat,train"), ["tags.csv line 2: image id '../a.png' has a path in it"]),
    "absolute id": (set_row(2, "/etc/passwd,cat,train"), ["tags.csv line 2: image id '/etc/passwd' has a path in it"]),
    "empty split": (set_row(4, "c.png,cat,train"), ["data set mine: split val is empty"]),
    "unknown split": (set_row(4, "c.png,cat,vall"), ["tags.csv line 4: split 'vall', did you mean 'val'?"]),
    "missing column": (
        set_row(1, "image,tag,split"),
        ["tags.csv line 1: column tags is missing; the columns are image, tag, split"],
    ),
    "cells missing": (set_row(3, "b.png"), ["tags.csv line 3: row does not have 3 cells"]),
    "missing table": (set_setting(tags="nowhere.csv"), ["nowhere.csv: file is missing"]),
    "missing folder": (set_setting(images="nowhere"), ["nowhere: folder of images is missing"]),
    "repeated class": (set_setting(classes=["cat", "dog", "cat"]), ["class name 'cat' is listed more than once"]),
    "unknown setting": (
        set_setting(mask="x"),
        ["dataset.settings: unknown setting 'mask'; allowed: images, tags, masks"],
    ),
    "unknown format": (
        set_dataset(format="vod"),
        ["dataset.format: no type 'vod'; allowed: coco, folder, shapes, voc"],
    ),
    "unknown scored class": (
        set_dataset(eval_classes=["cta"]),
        ["dataset.eval_classes: unknown class 'cta', did you mean 'cat'?"],
    ),
    "too many shards": (
        set_dataset(shards={"train": 3, "val": 1}),
        ["dataset.shards.train: 3 shards for 2 images; use fewer shards"],
    ),
    "unknown verify": (set_dataset(verify="twice"), ["dataset.verify: 'twice' is not one of full, headers"]),
    "unknown key": (set_dataset(shard=1), ["unknown setting 'shard'; allowed: name, format"]),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_one_clear_line(case: Case, name: str) -> None:
    spoil, parts = BAD_INPUTS[name]
    spoil(case)
    exit_code, lines = case.prepare()
    assert exit_code == 2
    (line,) = lines
    for part in parts:
        assert part in line
    assert not (case.home / "data").exists()


def test_all_of_them_at_once(case: Case) -> None:
    spoiled = ["unreadable image", "zero bytes", "damaged mask", "unknown class", "too many shards"]
    for name in spoiled:
        BAD_INPUTS[name][0](case)
    exit_code, lines = case.prepare()
    assert exit_code == 2
    assert len(lines) == len(spoiled)
    for name in spoiled:
        assert any(all(part in line for part in BAD_INPUTS[name][1]) for line in lines)


def test_the_sound_data_set_is_accepted(case: Case) -> None:
    assert case.prepare() == (0, [])
    assert (case.home / "data/manifest.csv").is_file()
