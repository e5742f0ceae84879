"""Every artifact becomes a picture; everything else, one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text
from pcc.stages.evaluate import evaluate
from pcc.tools.inspect import inspect

RUN = "cam/seed-0/cam"


def picture(artifact: Path, output: Path, **options: Any) -> np.ndarray:
    inspect(artifact, output, **options)
    return np.asarray(Image.open(output).convert("RGB"))


@pytest.mark.parametrize(
    ("artifact", "options"),
    [
        ("clusters/taxonomy/clusters.json", {}),
        ("clusters/taxonomy", {}),
        (f"{RUN}/maps/000.safetensors", {"images": 2}),
        (f"{RUN}/maps/000.safetensors", {"image_id": "im1"}),
        (f"{RUN}/maps", {"image_id": "im5"}),
        (f"{RUN}/pseudo_masks/001", {"images": 3}),
        (f"{RUN}/pseudo_masks", {"image_id": "im6"}),
        (f"{RUN}/predictions/000/im2.png", {}),
        ("data/masks", {}),
    ],
)
def test_artifacts_become_pictures(results: Any, tmp_path: Path, artifact: str, options: dict[str, Any]) -> None:
    pixels = picture(results.root / artifact, tmp_path / "picture.png", **options)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_one_mask_is_drawn_larger_than_on_a_sheet(results: Any, tmp_path: Path) -> None:
    folder = results.root / f"{RUN}/pseudo_masks/000"
    one = picture(folder, tmp_path / "one.png", image_id="im1")
    assert one.shape[1] > 1.5 * picture(folder, tmp_path / "all.png").shape[1]


def test_metrics_and_losses(results: Any, tmp_path: Path) -> None:
    evaluate(
        results.manifest,
        results.shards("predictions"),
        results.root / "metrics.json",
        kind="predictions",
        split="train",
        experiment={"dataset": "tiny", "method": "cam", "seed": 0},
    )
    (results.root / "sheet.jpg").write_bytes(b"the contact sheet lies beside the metrics")
    assert picture(results.root, tmp_path / "metrics.png").std() > 10
    rows = [
        f"{'warm' if i < 9 else 'main'},0,{i},0.1,{2 / (i + 1)},{1 / (i + 1)},{'' if i < 9 else 1}" for i in range(20)
    ]
    write_text(tmp_path / "classifier/losses.csv", "\n".join(["phase,epoch,step,lr,loss,image,cluster", *rows]))
    assert picture(tmp_path / "classifier", tmp_path / "losses.png").std() > 10


def test_no_clusters_is_said(tmp_path: Path) -> None:
    write_text(tmp_path / "clusters.json", '{"clusters": []}')
    inspect(tmp_path / "clusters.json", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").exists()


@pytest.mark.parametrize(
    ("artifact", "options", "words"),
    [
        ("nothing.json", {}, "no such file or folder"),
        ("data/dataset.json", {}, "not an artifact that can be drawn"),
        ("data/manifest.csv", {}, "not an artifact that can be drawn"),
        ("cam", {}, "nothing to draw in this folder"),
        (f"{RUN}/maps/000.safetensors", {"image_id": "im9"}, "holds no image im9; it starts with im0, im1, im2"),
        (f"{RUN}/pseudo_masks/000", {"image_id": "im9"}, "holds no mask of im9; it starts with im0"),
    ],
)
def test_what_cannot_be_drawn(results: Any, tmp_path: Path, artifact: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        inspect(results.root / artifact, tmp_path / "picture.png", **options)
    assert len(caught.value.problems) == 1 and "\n" not in caught.value.problems[0]
    assert not (tmp_path / "picture.png").exists()


def test_a_manifest_is_asked_for_where_none_is_above(results: Any, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (results.root / f"{RUN}/pseudo_masks/000").rename(moved)
    with pytest.raises(InputError, match="--manifest"):
        inspect(moved, tmp_path / "picture.png")
    inspect(moved, tmp_path / "picture.png", manifest=results.manifest)
