"""Steps and experiments are found from the folders alone, as a run leaves them."""

from pathlib import Path

import numpy as np
import pytest

from pcc.artifacts.masks import write_mask
from pcc.reporting.experiments import experiments_of, find_steps, name_of
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_json, write_text

CHAIN = "pcc/seed-0/cam"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_text(tmp_path / f"{CHAIN}/maps/000.safetensors", "")
    for folder in (
        f"{CHAIN}/crf/pseudo_masks/000",
        f"{CHAIN}/crf/pseudo_masks/001",
        f"{CHAIN}/crf/light/predictions/000",
        f"{CHAIN}/argmax/pseudo_masks/000",
        f"{CHAIN}/crf/.pseudo_masks.partial/pseudo_masks/000",
        "masks/seed-1/light/predictions/000",
        "gallery/steps/pcc/seed-0/cam/crf/pseudo_masks/000",
        "logs/pcc/seed-0/cam/maps/000",
    ):
        write_mask(tmp_path / folder / "im0.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "empty/seed-0/cam/maps").mkdir(parents=True)
    return tmp_path


def test_every_step_with_a_shard_is_found_once(tree: Path) -> None:
    found = {(step.path, step.kind): [path.name for path in step.inputs] for step in find_steps(tree)}
    assert found == {
        ("masks/seed-1/light", "predictions"): ["000"],
        (CHAIN, "maps"): ["000.safetensors"],
        (f"{CHAIN}/argmax", "pseudo_masks"): ["000"],
        (f"{CHAIN}/crf", "pseudo_masks"): ["000", "001"],
        (f"{CHAIN}/crf/light", "predictions"): ["000"],
    }


def test_an_experiment_is_a_chain_down_to_its_last_step(tree: Path) -> None:
    steps = find_steps(tree)
    chains = {e.path: [(steps[i].path, steps[i].kind) for i in e.steps] for e in experiments_of(steps)}
    assert chains == {
        "masks/seed-1/light": [("masks/seed-1/light", "predictions")],
        f"{CHAIN}/argmax": [(CHAIN, "maps"), (f"{CHAIN}/argmax", "pseudo_masks")],
        f"{CHAIN}/crf/light": [
            (CHAIN, "maps"),
            (f"{CHAIN}/crf", "pseudo_masks"),
            (f"{CHAIN}/crf/light", "predictions"),
        ],
    }
    assert [step.supervised for step in steps] == [step.path.startswith("masks/") for step in steps]


def test_names() -> None:
    assert name_of(f"{CHAIN}/crf/light") == "pcc / cam / crf / light, seed 0"
    assert name_of("masks/seed-3/light") == "fully supervised / light, seed 3"


def test_what_follows_an_oracle_is_one(tree: Path) -> None:
    write_json(tree / CHAIN / "metrics.json", {"kind": "maps", "mean_iou": 0.5, "oracle": True})
    write_json(tree / f"{CHAIN}/crf/metrics.json", {"kind": "pseudo_masks", "mean_iou": 0.6, "oracle": False})
    steps = {(step.path, step.kind): (step.oracle, step.mean_iou) for step in find_steps(tree)}
    assert steps[CHAIN, "maps"] == (True, 0.5)
    assert steps[f"{CHAIN}/crf", "pseudo_masks"] == (True, 0.6)
    assert steps[f"{CHAIN}/crf/light", "predictions"] == (True, None)
    assert steps["masks/seed-1/light", "predictions"] == (False, None)


@pytest.mark.parametrize("text", ["{}", "no json", "[]"])
def test_other_metrics_are_one_line(tree: Path, text: str) -> None:
    write_text(tree / CHAIN / "metrics.json", text)
    with pytest.raises(InputError, match=r"metrics\.json: not (JSON|what `pcc evaluate` writes)") as caught:
        find_steps(tree)
    assert "\n" not in caught.value.problems[0]
