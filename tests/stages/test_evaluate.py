"""Scores against slow loops, torchmetrics and brute force; what cannot be scored is said in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.artifacts.masks import read_mask, write_mask
from pcc.maps import background_threshold, resize
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json
from pcc.stages.evaluate import evaluate

EXPERIMENT = {"dataset": "tiny", "method": "cam", "seed": 0, "localization": "cam", "supervision": "labels"}


def run(results: Any, kind: str, **changes: Any) -> dict[str, Any]:
    inputs = results.shards(kind, ".safetensors" if kind == "maps" else "")
    given = {"kind": kind, "split": "train", "experiment": EXPERIMENT, "inputs": inputs, **changes}
    output = results.root / f"{kind}.json"
    evaluate(results.manifest, output=output, **given)
    return read_json(output)


def pairs(results: Any, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction of the scored images, read without the code under test."""
    found = []
    for record in results.data.records:
        if record.scored:
            folder = results.root / f"cam/seed-0/cam/{kind}/{record.shard}"
            found.append((read_mask(record.mask), read_mask(folder / f"{record.image_id}.png")))
    return found


def test_pseudo_masks_against_a_double_loop_with_255_as_background(results: Any) -> None:
    expected = [[0] * 4 for _ in range(4)]
    for truth, guess in pairs(results, "pseudo_masks"):
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                if truth[row, column] != 255:
                    predicted = guess[row, column]
                    expected[truth[row, column]][0 if predicted == 255 else predicted] += 1
    stored = run(results, "pseudo_masks")
    assert stored["confusion_matrix"] == expected
    assert stored["num_images"] == 7
    assert "counted as background" in stored["ignore_policy"]


def test_predictions_against_torchmetrics(results: Any) -> None:
    truth, guess = (
        torch.from_numpy(np.stack(part)).long() for part in zip(*pairs(results, "predictions"), strict=True)
    )
    expected = MulticlassJaccardIndex(4, ignore_index=255, average=None)(guess, truth)
    stored = run(results, "predictions")
    assert list(stored["iou"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert stored["mean_iou"] == pytest.approx(expected.mean().item(), abs=1e-6)
    assert stored["labels_at_inference"] is False


def test_means_are_over_background_and_the_scored_classes(make_results: Callable[..., Any]) -> None:
    stored = run(make_results(eval_classes=("dog",)), "predictions")
    assert stored["mean_iou"] == pytest.approx((stored["iou"]["background"] + stored["iou"]["dog"]) / 2)
    assert stored["eval_classes"] == ["background", "dog"]


def test_oracle_sweep_equals_arg_max_at_each_threshold(results: Any) -> None:
    stored = run(results, "maps")["oracle_threshold"]
    maps = dict(pair for shard in results.shards("maps", ".safetensors") for pair in read_maps(shard))
    for threshold, score in zip(stored["curve"]["thresholds"], stored["curve"]["mean_iou"], strict=True):
        truths, guesses = [], []
        for record in results.data.records:
            if record.scored:
                m = maps[record.image_id]
                scores = background_threshold(resize(m.values[None, 1:], m.size), threshold)[0]
                guesses.append(torch.tensor(m.classes)[scores.argmax(dim=0)])
                truths.append(torch.from_numpy(read_mask(record.mask)).long())
        iou = MulticlassJaccardIndex(4, ignore_index=255)(torch.stack(guesses), torch.stack(truths))
        assert score == pytest.approx(iou.item(), abs=1e-6)
    assert stored["oracle"] is True
    assert stored["mean_iou"] == max(stored["curve"]["mean_iou"])
    assert stored["threshold"] == stored["curve"]["thresholds"][np.argmax(stored["curve"]["mean_iou"])]


def test_an_image_without_tags_is_all_background(results: Any) -> None:
    shard = results.shards("maps", ".safetensors")[0]
    maps = dict(read_maps(shard))
    write_maps(shard, {**maps, "im0": Maps((0,), torch.ones(1, 6, 7), maps["im0"].size)})
    stored = run(results, "maps", figure=results.root / "sheet.jpg")
    assert all(np.sum(stored["confusion_matrix"], axis=0) >= 0)
    assert stored["num_images"] == 7


@pytest.mark.parametrize("kind", ["maps", "pseudo_masks"])
def test_processes_and_order_change_nothing(results: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run(results, kind, figure=results.root / "a.png")
    monkeypatch.setattr("pcc.scoring.counting.CHUNK", 2)
    inputs = results.shards(kind, ".safetensors" if kind == "maps" else "")[::-1]
    assert run(results, kind, threads=2, inputs=inputs, figure=results.root / "b.png") == alone
    assert (results.root / "a.png").read_bytes() == (results.root / "b.png").read_bytes()


def test_cluster_confusion_and_settings_are_kept(results: Any) -> None:
    steps = {
        "localization": {"scales": [1.0, 0.5], "flip": False},
        "refinement": {"type": "crf"},
        "boundary_labels": {"iterations": 3},
        "initial_weights": "resnet50, hub",
    }
    stored = run(results, "pseudo_masks", clusters=results.clusters, **steps)
    confusion = np.array(stored["confusion_matrix"])
    foreground = confusion[1:].sum()
    assert stored["within_cluster_confusion"] == pytest.approx((confusion[1, 2] + confusion[2, 1]) / foreground)
    between = confusion[1:3, 3].sum() + confusion[3, 1:3].sum()
    assert stored["between_cluster_confusion"] == pytest.approx(between / foreground)
    assert stored["settings"] == {"scales": [1.0, 0.5], "flip": False, "crf": True, **steps}
    assert stored["experiment"] == EXPERIMENT
    assert read_json(results.root / "pseudo_masks.provenance.json")["inputs"]


def test_own_photos_without_masks_give_a_note_and_no_score(make_results: Callable[..., Any]) -> None:
    results = make_results(scored=False)
    stored = run(results, "maps", figure=results.root / "sheet.jpg")
    assert (stored["mean_iou"], stored["num_images"], stored["oracle_threshold"]) == (None, 0, None)
    assert "no image" in stored["note"]
    assert (results.root / "sheet.jpg").stat().st_size > 5000


def test_missing_predictions_are_listed(results: Any) -> None:
    with pytest.raises(InputError, match=r"^3 of 7 images to score are in no --input: im4, im5, im6; "):
        run(results, "predictions", inputs=results.shards("predictions")[:1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: write_mask(folder / "im0.png", np.zeros((5, 5), np.uint8)), "im0: prediction is"),
        (lambda folder: write_mask(folder / "im1.png", np.full((24, 30), 255, np.uint8)), "im1: prediction holds"),
        (lambda folder: (folder / "im2.png").write_bytes(b"no png"), "im2.png: mask cannot be read"),
    ],
)
def test_predictions_that_do_not_fit(results: Any, change: Callable[[Path], Any], words: str) -> None:
    change(results.shards("predictions")[0])
    with pytest.raises(InputError, match=words) as caught:
        run(results, "predictions")
    assert len(caught.value.problems) == 1


def test_a_shard_given_twice_or_not_there(results: Any) -> None:
    first = results.shards("predictions")[0]
    with pytest.raises(InputError, match="another --input"):
        run(results, "predictions", inputs=[first, first])
    with pytest.raises(InputError, match=r"002: no such file or folder"):
        run(results, "predictions", inputs=[first.with_name("002")])


def test_a_kind_that_does_not_exist(results: Any) -> None:
    with pytest.raises(InputError, match="kind 'masks' is not one of maps, pseudo_masks, predictions"):
        run(results, "masks")


def test_clusters_of_another_data_set(results: Any, tmp_path: Path) -> None:
    write_clusters(tmp_path / "other.json", [{"name": "a", "members": ["cat", "whale"]}])
    with pytest.raises(InputError, match="unknown classes whale"):
        run(results, "predictions", clusters=tmp_path / "other.json")
