"""Real processes, really killed: the next run ends with the bytes of an unbroken one; nothing half-written shows."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcc.artifacts.clusters import write_clusters
from pcc.runtime.files import digest

MODEL = {"backbone": {"name": "test_resnet", "settings": {"output_stride": 8}}, "hv_bilstm": 8, "top_k": 0.3}
TRAIN = {
    "type": "pcc",
    "model": {**MODEL, "unfrozen_blocks": "all"},
    "training": {
        "image_size": 32,
        "batch_size": 4,
        "checkpoint_every": 2,
        "phases": [{"name": "train", "epochs": 20, "lr": 0.001}],
    },
}
LOCALIZE = {"type": "iscam", "image_size": 96, "batch_size": 1, "scales": [1.0, 2.0, 3.0]}
REFINE = {
    "type": "crf",
    "iterations": 60,
    "gaussian": {"sxy": 3, "weight": 3},
    "bilateral": {"sxy": 30, "srgb": 5, "weight": 5},
}
SEGMENTER = {
    "type": "light_head",
    "model": {"backbone": MODEL["backbone"] | {"levels": [4]}, "unfrozen_blocks": "all", "width": 8},
    "training": {**TRAIN["training"], "phases": [{"name": "train", "epochs": 2, "lr": 0.001}]},
}
PREDICT = {"crf": {key: REFINE[key] for key in ("iterations", "gaussian", "bilateral")}}
KILLED = Path(__file__).parents[1] / "helpers/killed.py"


def words(stage: str, settings: dict[str, Any], *others: object) -> list[str]:
    return [stage, "--settings", json.dumps(settings), *map(str, others)]


@pytest.mark.slow
def test_killed_stages_end_like_unbroken_ones(tiny_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = tiny_manifest(train=48, val=48, side=96)
    clusters = manifest.parent / "clusters.json"
    write_clusters(clusters, [{"name": "animal", "members": ["cat", "dog"]}, {"name": "vehicle", "members": ["boat"]}])
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    stages: list[tuple[Path, Callable[[Path], list[str]], str, int]] = [
        (
            Path("classifier"),
            lambda output: words("train", TRAIN, "--manifest", manifest, "--clusters", clusters, "--output", output),
            ".classifier.partial/checkpoint.safetensors", 1,
        ),
        (
            Path("maps/000.safetensors"),
            lambda output: words(
                "localize", LOCALIZE, "--manifest", manifest, "--classifier", whole / "classifier",
                "--shard", "000", "--output", output,
            ),
            ".000.safetensors.partial/0*", 3,
        ),
        (
            Path("masks"),
            lambda output: words(
                "pseudo_masks", REFINE, "--manifest", manifest, "--maps", whole / "maps/000.safetensors",
                "--output", output, "--threads", 2,
            ),
            ".masks.partial/[!.]*.png", 3,
        ),
        (
            Path("segmenter"),
            lambda output: words(
                "train_segmenter", SEGMENTER, "--manifest", manifest, "--masks", whole / "masks", "--output", output
            ),
            ".segmenter.partial/checkpoint.safetensors", 1,
        ),
        (
            Path("predictions"),
            lambda output: words(
                "segment", PREDICT, "--manifest", manifest, "--segmenter", whole / "segmenter",
                "--shard", "000", "--output", output, "--threads", 2,
            ),
            ".predictions.partial/[!.]*.png", 3,
        ),
    ]  # fmt: skip
    pcc = [sys.executable, "-m", "pcc"]
    for name, words_for, files, number in stages:
        subprocess.run([*pcc, *words_for(whole / name)], check=True, capture_output=True)
        given = words_for(broken / name)
        killing = [sys.executable, str(KILLED), str((broken / name).parent / files), str(number), *given]
        killed = subprocess.run(killing, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        assert killed.returncode == -signal.SIGKILL
        visible = broken / name / "weights.safetensors" if name == Path("classifier") else broken / name
        assert not visible.exists(), "a killed stage shows nothing"
        resumed = subprocess.run([*pcc, *given], check=True, capture_output=True, text=True)
        if name == Path("classifier"):
            assert "resuming from checkpoint: phase 0, step 2\n" in resumed.stderr
        assert content(whole / name) == content(broken / name)


def content(path: Path) -> dict[str, str]:
    """Digests of all that a stage makes, but for what tells of time."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    told = [f for f in files if "provenance" not in f.name and "tfevents" not in f.name]
    assert told
    return {f.name: digest(f) for f in told}
