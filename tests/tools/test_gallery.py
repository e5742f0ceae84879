"""What the gallery writes: the right numbers, once, inside its folder, and one line where it cannot."""

import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchmetrics
from gallery_results import CLASSES, ODD, TRAIN, VAL, make_run
from PIL import Image
from torch import from_numpy
from typer.testing import CliRunner

from pcc.artifacts.masks import read_mask, write_mask
from pcc.cli import app
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text
from pcc.tools.gallery import gallery, spread

CHAIN = "pcc/seed-0/cam"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "results/tiny")


def data_of(output: Path) -> dict[str, Any]:
    text = (output / "data.js").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text.removeprefix("const GALLERY = ").removesuffix(";\n"))
    return data


def step_of(data: dict[str, Any], path: str) -> dict[str, Any]:
    return next(step for step in data["steps"] if step["path"] == path)


def times(output: Path) -> dict[str, int]:
    """When each picture was written, by its path."""
    pictures = [p for p in output.rglob("*") if p.suffix in (".jpg", ".png") or p.parent != output]
    return {p.relative_to(output).as_posix(): p.stat().st_mtime_ns for p in pictures if p.is_file()}


def test_columns_hold_every_image_and_step(run: Path) -> None:
    gallery(run)
    data = data_of(run / "gallery")
    assert len(data["ids"]) == TRAIN + VAL and ODD in data["ids"]
    assert data["classes"] == ["background", *CLASSES]
    assert data["sizes"] == [[32, 24]] * (TRAIN + VAL) and not any(data["problems"])
    assert [(e["path"], e["name"]) for e in data["experiments"]] == [
        (f"{m}/seed-0/cam/crf/light", f"{m} / cam / crf / light, seed 0") for m in ("cam", "pcc")
    ]
    assert list(data["partitions"]) == ["taxonomy"]
    assert data["partitions"]["taxonomy"][0] == {"name": "animal", "classes": [1, 2]}
    assert {s["path"]: s["oracle"] for s in data["steps"]} == {
        f"{method}/seed-0/cam{tail}": method == "pcc"
        for method in ("cam", "pcc")
        for tail in ("", "/crf", "/crf/light")
    }
    share = step_of(data, f"{CHAIN}/crf/light")["share"]
    assert [s is None for s in share] == [True] * TRAIN + [False] * VAL


def test_scores_are_those_of_another_library(run: Path) -> None:
    gallery(run)
    data = data_of(run / "gallery")
    found = step_of(data, f"{CHAIN}/crf")["iou"]
    assert found[0] is None  # not to be scored
    assert all(score is None for score in found[TRAIN:])
    for place in range(1, TRAIN):
        name = f"{data['ids'][place]}.png"
        mask = read_mask(run / f"{CHAIN}/crf/pseudo_masks/000/{name}")
        truth = read_mask(run / f"data/masks/{name}")
        mask[mask == 255] = 0
        jaccard = torchmetrics.JaccardIndex("multiclass", num_classes=4, ignore_index=255, average="none")
        per_class = jaccard(from_numpy(mask.astype(int)), from_numpy(truth.astype(int))).numpy()
        there = [c for c in range(4) if (truth == c).any() or (mask[truth != 255] == c).any()]
        assert found[place] == pytest.approx(per_class[there].mean(), abs=1e-4)


def test_confidence_is_the_mean_over_classes(run: Path) -> None:
    gallery(run)
    data = data_of(run / "gallery")
    expected = [None, *(round((n / 20 + 1) / 2, 4) for n in range(TRAIN - 1)), *[None] * VAL]
    assert step_of(data, "cam/seed-0/cam/crf")["confidence"] == expected
    assert step_of(data, f"{CHAIN}/crf")["confidence"] is None


def test_only_what_is_missing_or_changed_is_made_again(run: Path) -> None:
    gallery(run)
    output = run / "gallery"
    before = times(output)
    gallery(run, threads=2)
    assert times(output) == before
    changed = run / f"{CHAIN}/crf/pseudo_masks/000/im02.png"
    write_mask(changed, np.full((24, 32), 2, np.uint8))
    older = (changed.stat().st_atime_ns, 10**18)  # such as a file that was put back from a backup
    os.utime(changed, ns=older)
    (output / "thumbs/im05.jpg").unlink()
    gallery(run)
    after = times(output)
    assert set(after) == set(before)
    folder = f"steps/{CHAIN}/crf/pseudo_masks"
    made = {f"{folder}/im02.png", f"{folder}/im02.js", f"{folder}/made.json"}
    made |= {"thumbs/im05.jpg", "photos/im05.jpg", "photos/made.json"}
    assert {name for name in after if after[name] != before[name]} == made
    assert step_of(data_of(output), f"{CHAIN}/crf")["share"][2] == 1


def test_a_damaged_note_is_no_obstacle(run: Path) -> None:
    gallery(run)
    write_text(run / "gallery/photos/made.json", "{")
    gallery(run)
    assert len(json.loads((run / "gallery/photos/made.json").read_text())["images"]) == TRAIN + VAL


def test_what_cannot_be_read_is_told_on_its_card(run: Path) -> None:
    (run / "data/images/im01.png").unlink()
    (run / f"{CHAIN}/crf/pseudo_masks/000/im02.png").write_bytes(b"no picture")
    write_mask(run / f"{CHAIN}/crf/pseudo_masks/000/im04.png", np.zeros((5, 5), np.uint8))
    gallery(run)
    data = data_of(run / "gallery")
    assert "file is missing" in data["problems"][1] and data["sizes"][1] is None
    step = step_of(data, f"{CHAIN}/crf")
    assert "mask cannot be read" in step["faults"]["im02"] and step["share"][2] is None
    assert "mask is (5, 5) but the ground truth is (24, 32)" in step["faults"]["im04"] and step["iou"][4] is None
    assert step["iou"][1] is not None  # its mask needs no photo


def test_limit_and_only(run: Path, tmp_path: Path) -> None:
    gallery(run, tmp_path / "few", limit=4, only=["cam/crf/light"])
    data = data_of(tmp_path / "few")
    assert data["ids"] == ["im00", ODD, "im07", "im10"]
    assert {step["path"] for step in data["steps"]} == {f"{m}/seed-0/cam/crf/light" for m in ("cam", "pcc")}
    assert len(list((tmp_path / "few/photos").glob("*.jpg"))) == 4
    with pytest.raises(InputError, match="no experiment has nothing in its path; see --only"):
        gallery(run, only=["nothing"])


def test_spread() -> None:
    assert spread(list(range(10)), 3) == [0, 3, 6]
    assert spread(list(range(3)), 7) == spread(list(range(3)), None) == [0, 1, 2]


def test_paths_relative_to_where_the_workflow_ran(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = run / "data/manifest.csv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(f"{tmp_path}/", ""), encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    gallery(Path("../results/tiny"), Path("page"))
    assert not any(data_of(Path("page"))["problems"])


def test_everything_is_beside_the_page(run: Path) -> None:
    gallery(run)
    output = run / "gallery"
    page = resources.files("pcc.gallery") / "page"
    for part in page.iterdir():
        text = part.read_text(encoding="utf-8")
        assert (output / part.name).read_text(encoding="utf-8") == text
        assert not re.search(r"https?:|//[a-z]+\.|innerHTML|outerHTML|insertAdjacentHTML|eval\(", text)
        for name in re.findall(r'(?:src|href)="([^"]+)"', text):
            assert name == "data:," or (output / name).is_file()
    assert str(run) not in (output / "data.js").read_text(encoding="utf-8")
    assert not [p for p in output.rglob(".*") if p.is_file()]


def test_an_id_cannot_leave_the_folder(run: Path) -> None:
    manifest = run / "data/manifest.csv"
    text = manifest.read_text(encoding="utf-8").replace("im02,", "../../im02,")
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"line 4: image id '\.\./\.\./im02' has a path in it"):
        gallery(run)
    assert not (run / "gallery").exists()


def test_no_run_at_all_shows_photos_and_truth(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bare/data").mkdir(parents=True)
    for name in ("manifest.csv", "dataset.json"):
        (run / "data" / name).rename(tmp_path / "bare/data" / name)
    gallery(tmp_path / "bare")
    data = data_of(tmp_path / "bare/gallery")
    assert data["steps"] == data["experiments"] == [] and None not in data["truth"]["share"]


BAD: dict[str, tuple[str, str | None, str]] = {
    "no folder": ("nowhere", None, "nowhere: no such folder; name a data set's results"),
    "no results": (".", None, ": not a data set's results, as there is no data/manifest.csv in it"),
    "confidence": ("results/tiny", "image_id,class_id,confidence\nim01,1,1.5\n", "line 2: confidence '1.5' must be"),
    "no number": ("results/tiny", "image_id,class_id,confidence\nim01,1,sure\n", "line 2: confidence 'sure' must be"),
    "columns": ("results/tiny", "image,confidence\nim01,1\n", "line 1: column image_id, class_id is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(run: Path, tmp_path: Path, name: str) -> None:
    folder, quality, words = BAD[name]
    if quality:
        write_text(run / f"{CHAIN}/crf/quality.csv", quality)
    done = CliRunner().invoke(app, ["gallery", str(tmp_path / folder)])
    lines = [line for line in done.stderr.splitlines() if line.startswith("pcc gallery: ")]
    assert done.exit_code == 2 and len(lines) == 1 and words in lines[0]


def test_too_little_disk(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr("pcc.tools.gallery.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="are free; set --limit, --only, or another --output"):
        gallery(run)
    assert not (run / "gallery/photos").exists()


def test_a_stopped_run_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcc.tools import gallery as stage

    real, made = stage.write, []

    def stop(job: Any, output: Path) -> Any:
        if len(made) == 40:
            raise KeyboardInterrupt
        made.append(job.stem)
        return real(job, output)

    monkeypatch.setattr(stage, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        gallery(run)
    assert not (run / "gallery/index.html").exists()
    before = times(run / "gallery")
    monkeypatch.setattr(stage, "write", real)
    gallery(run)
    after = times(run / "gallery")
    pictures = [name for name in before if name.endswith((".jpg", ".png"))]
    kept = [name for name in pictures if after[name] == before[name]]
    assert len(kept) >= 40
    assert Image.open(run / "gallery/photos/im00.jpg").size == (32, 24)
