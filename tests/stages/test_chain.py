"""The stages from training to prediction on a tiny data set: what they write, and what a kill in their midst leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import read_maps
from pcc.artifacts.masks import read_mask, write_mask
from pcc.data.manifest import Manifest
from pcc.deployment.localizer import Localizer
from pcc.ids import IGNORE
from pcc.methods.loading import load_classifier
from pcc.models.segmenter import load_segmenter
from pcc.refine.random_walk import refine
from pcc.runtime.errors import InputError
from pcc.runtime.files import digest
from pcc.stages import pseudo_masks as pseudo_masks_stage
from pcc.stages.boundaries import boundaries
from pcc.stages.localize import localize
from pcc.stages.pseudo_masks import pseudo_masks
from pcc.stages.segment import segment
from pcc.stages.train import train
from pcc.stages.train_boundary import train_boundary
from pcc.stages.train_segmenter import train_segmenter

BACKBONE = {"name": "test_resnet", "settings": {"output_stride": 8}}
TRAINING = {"image_size": 32, "batch_size": 3, "phases": [{"name": "train", "epochs": 2, "lr": "1e-3"}]}
CRF = {"iterations": 2, "gaussian": {"sxy": 1, "weight": 3}, "bilateral": {"sxy": 10, "srgb": 10, "weight": 3}}
MakeManifest = Callable[..., Path]


@pytest.fixture
def manifest(tiny_manifest: MakeManifest) -> Path:
    return tiny_manifest(shards=2)


@pytest.fixture
def classifier(manifest: Path, tmp_path: Path) -> Path:
    return trained(manifest, tmp_path / "classifier")


def trained(manifest: Path, output: Path, **settings: Any) -> Path:
    clusters = manifest.parent / "clusters.json"
    write_clusters(clusters, [{"name": "a", "members": ["cat", "dog"]}, {"name": "v", "members": ["boat"]}])
    model = {
        "backbone": BACKBONE,
        "hv_bilstm": 4,
        "top_k": 0.3,
        "fusion": "sequence",
        "cluster_loss": 0.1,
        "unfrozen_blocks": "all",
    }
    train(manifest, clusters, output, **{"type": "pcc", "model": model, "training": TRAINING, **settings})
    return output


def maps_of(manifest: Path, classifier: Path, output: Path, **settings: Any) -> Path:
    localize(
        manifest, classifier, output, **{"shard": "000", "type": "iscam", "image_size": 32, "batch_size": 2, **settings}
    )
    return output


def test_training_writes_a_network_that_reads_back_the_same(manifest: Path, classifier: Path) -> None:
    assert {p.name for p in classifier.iterdir()} == {
        "weights.safetensors",
        "model.json",
        "losses.csv",
        "provenance.json",
        "tensorboard",
    }
    method, again = load_classifier(classifier), load_classifier(classifier)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(method.raw_maps(images), again.raw_maps(images))
    provenance = json.loads((classifier / "provenance.json").read_text())
    assert provenance["seed"] == 0
    assert set(provenance["inputs"].values()) == {
        digest(manifest.parent / name) for name in ("manifest.csv", "dataset.json", "clusters.json")
    }
    assert not list(classifier.parent.glob(".*partial"))


def test_training_twice_gives_the_same_bytes(manifest: Path, classifier: Path, tmp_path: Path) -> None:
    again = trained(manifest, tmp_path / "again")
    other = trained(manifest, tmp_path / "other", seed=1)
    assert digest(classifier / "weights.safetensors") == digest(again / "weights.safetensors")
    assert digest(classifier / "weights.safetensors") != digest(other / "weights.safetensors")


def test_maps_hold_background_and_the_image_s_own_classes(manifest: Path, classifier: Path, tmp_path: Path) -> None:
    data = Manifest.read(manifest)
    for side, settings in (
        (8, {"type": "cam", "scales": [1.0, 2.0]}),  # the grid of scale 2
        (7, {"type": "iscam", "scales": [1.0, 2.0], "stride": 5}),
        (4, {"type": "affinity"}),
        (8, {"type": "affinity", "stride": 4}),
        (4, {"resize": "keep", "precision": "bf16"}),
    ):
        stored = dict(read_maps(maps_of(manifest, classifier, tmp_path / "m/000.safetensors", **settings)))
        records = data.select("train", "000")
        assert list(stored) == [record.image_id for record in records]
        for record in records:
            maps = stored[record.image_id]
            assert maps.classes == (0, *data.class_ids(record))
            assert maps.size == (32, 32)
            assert maps.values.shape == (2, side, side)
            assert torch.isfinite(maps.values).all()


def test_batch_size_and_order_change_no_map(manifest: Path, classifier: Path, tmp_path: Path) -> None:
    one = dict(read_maps(maps_of(manifest, classifier, tmp_path / "a.safetensors", batch_size=1)))
    many = dict(read_maps(maps_of(manifest, classifier, tmp_path / "b.safetensors", batch_size=3)))
    for image_id in one:
        torch.testing.assert_close(one[image_id].values, many[image_id].values, atol=2e-3, rtol=0)


def test_folding_changes_no_map_and_is_for_fp32_alone(
    manifest: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds: list[str] = []

    def unfolded(network: nn.Module, _example: Tensor) -> nn.Module:
        folds.append(type(network).__name__)
        return network

    folded = dict(read_maps(maps_of(manifest, classifier, tmp_path / "a.safetensors")))
    monkeypatch.setattr("pcc.deployment.localizer.fold_batch_norms", unfolded)
    plain = dict(read_maps(maps_of(manifest, classifier, tmp_path / "b.safetensors")))
    assert folds == ["Backbone"]
    for image_id in plain:
        torch.testing.assert_close(folded[image_id].values, plain[image_id].values, atol=2e-3, rtol=0)
    monkeypatch.setattr("pcc.deployment.localizer.resolve_precision", lambda _asked: "bf16")
    maps_of(manifest, classifier, tmp_path / "c.safetensors", precision="bf16")
    assert folds == ["Backbone"]


class Killed(BaseException):
    """Not an Exception: nothing on the way may swallow it, as nothing can stop a SIGKILL."""


def kill_after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, calls: int) -> None:
    function, count = getattr(module, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > calls:
            raise Killed
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)


def test_killed_localization_goes_on_where_it_was(
    manifest: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = maps_of(manifest, classifier, tmp_path / "whole/000.safetensors", batch_size=1)
    broken = tmp_path / "broken/000.safetensors"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, Localizer, "localize", 2)
        maps_of(manifest, classifier, broken, batch_size=1)
    assert not broken.exists()
    with monkeypatch.context() as patch:
        kill_after(patch, Localizer, "localize", 1)  # one of three images is left to do
        maps_of(manifest, classifier, broken, batch_size=1)
    assert digest(whole) == digest(broken)


def test_killed_pseudo_masks_go_on_where_they_were(
    manifest: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = maps_of(manifest, classifier, tmp_path / "000.safetensors")
    pseudo_masks(manifest, maps, tmp_path / "whole", type="crf", threads=2, **CRF)
    broken = tmp_path / "broken"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, pseudo_masks_stage, "_refine_each", 2)
        pseudo_masks(manifest, maps, broken, type="crf", **CRF)
    assert not broken.exists()
    with monkeypatch.context() as patch:
        kill_after(patch, pseudo_masks_stage, "_refine_each", 1)
        pseudo_masks(manifest, maps, broken, type="crf", **CRF)
    for file in (tmp_path / "whole").glob("*.png"):
        assert digest(file) == digest(broken / file.name)


def test_changed_settings_start_afresh(
    manifest: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = maps_of(manifest, classifier, tmp_path / "000.safetensors")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, pseudo_masks_stage, "_refine_each", 2)
        pseudo_masks(manifest, maps, tmp_path / "masks", type="threshold", threshold=0.0)
    pseudo_masks(manifest, maps, tmp_path / "masks", type="threshold", threshold=1.0)
    assert all(not read_mask(file).any() for file in (tmp_path / "masks").glob("*.png"))


def test_segmenter_from_pseudo_masks_to_predictions(manifest: Path, classifier: Path, tmp_path: Path) -> None:
    folders = []
    for shard in ("000", "001"):
        maps = maps_of(manifest, classifier, tmp_path / f"{shard}.safetensors", shard=shard)
        pseudo_masks(manifest, maps, tmp_path / shard, type="argmax")
        folders.append(tmp_path / shard)
    model = {"backbone": {"name": "test_resnet", "levels": [1, 2]}, "width": 8}
    output = tmp_path / "segmenter"
    train_segmenter(
        manifest, output, masks=folders, type="light_head", model=model, training={**TRAINING, "cache_features": True}
    )
    assert json.loads((output / "model.json").read_text())["supervision"] == "labels"
    for crf in (None, CRF):
        predictions = tmp_path / f"predictions-{crf is None}"
        segment(manifest, output, predictions, shard="000", scales=[1.0, 0.5], crf=crf, threads=2)
        for record in Manifest.read(manifest).select("val", "000"):
            mask = read_mask(predictions / f"{record.image_id}.png")
            assert mask.shape == (32, 32)
            assert mask.max() <= 3
    flipped = load_segmenter(output)(torch.rand(1, 3, 32, 32))
    assert flipped.shape[1] == 4


def test_true_masks_train_the_same_network_with_their_own_mark(manifest: Path, tmp_path: Path) -> None:
    model = {"backbone": {"name": "test_resnet"}, "width": 8}
    train_segmenter(manifest, tmp_path / "s", type="light_head", model=model, training=TRAINING, supervision="masks")
    assert json.loads((tmp_path / "s/model.json").read_text())["supervision"] == "masks"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "im1.png").unlink(), "1 training images have no pseudo mask, first im1"),
        (
            lambda folder: write_mask(folder / "im1.png", np.full((32, 32), 9, np.uint8)),
            "invalid value 9; class ids of tiny",
        ),
        (
            lambda folder: [write_mask(file, np.zeros((32, 32), np.uint8)) for file in folder.glob("*.png")],
            "all 6 training masks hold only background",
        ),
        (lambda folder: (folder / "im1.png").write_bytes(b""), "im1.png: file is empty"),
    ],
    ids=["missing", "value", "empty", "unreadable"],
)
def test_bad_pseudo_masks_are_refused_before_training(
    manifest: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "masks"
    for number in range(6):
        write_mask(folder / f"im{number}.png", np.eye(32, dtype=np.uint8))
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        train_segmenter(manifest, tmp_path / "s", masks=[folder], type="light_head", model={}, training=TRAINING)
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "s").exists()


def test_a_shard_that_is_none_is_one_clear_line(manifest: Path, classifier: Path, tmp_path: Path) -> None:
    broken = tmp_path / "000.safetensors"
    broken.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="not a shard of localization maps"):
        pseudo_masks(manifest, broken, tmp_path / "m", type="argmax")
    with pytest.raises(InputError, match="no such file or folder; run the stage that writes it"):
        maps_of(manifest, tmp_path / "nowhere", tmp_path / "001.safetensors")
    assert IGNORE == 255


def test_the_random_walk_from_confident_labels_to_masks(
    manifest: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boundaries are learned from masks of all shards, predicted by shard, and walked between."""
    kernels = {"gaussian": {"sxy": 1, "weight": 0.1}, "bilateral": {"sxy": 5, "srgb": 5, "weight": 0.1}}
    folders, maps = [], {}
    for shard in ("000", "001"):
        maps[shard] = maps_of(manifest, classifier, tmp_path / f"{shard}.safetensors", shard=shard)
        folders.append(tmp_path / f"sure/{shard}")
        pseudo_masks(manifest, maps[shard], folders[-1], type="confident", **kernels)
    training = {**TRAINING, "phases": [{"name": "main", "epochs": 1, "lr": 0.1}], "optimizer": "sgd"}
    train_boundary(
        manifest,
        folders,
        tmp_path / "boundary",
        model={"backbone": BACKBONE, "width": 4, "radius": 3},
        training=training,
    )
    boundaries(manifest, tmp_path / "boundary", tmp_path / "boundaries.safetensors", shard="000")
    boundaries_of = dict(read_maps(tmp_path / "boundaries.safetensors"))
    assert {found.values.shape for found in boundaries_of.values()} == {(1, 8, 8)}
    assert list(boundaries_of) == [image_id for image_id, _ in read_maps(maps["000"])]
    masks = tmp_path / "walked"
    pseudo_masks(
        manifest, maps["000"], masks, type="random_walk", boundaries=tmp_path / "boundaries.safetensors", steps=4
    )
    for image_id, found in read_maps(maps["000"]):
        expected = refine(np.zeros((32, 32, 3), np.uint8), found.values, boundaries_of[image_id].values[0], steps=4)
        mask = read_mask(masks / f"{image_id}.png")
        np.testing.assert_array_equal(mask, np.array(found.classes, np.uint8)[expected])
    monkeypatch.setattr(pseudo_masks_stage, "_batch_size", lambda *_: 2)
    together = tmp_path / "together"
    pseudo_masks(
        manifest, maps["000"], together, type="random_walk", boundaries=tmp_path / "boundaries.safetensors", steps=4
    )
    assert [digest(f) for f in sorted(together.glob("*.png"))] == [digest(f) for f in sorted(masks.glob("*.png"))]
    monkeypatch.undo()
    with pytest.raises(InputError, match="setting 'boundary' is missing"):
        pseudo_masks(manifest, maps["000"], tmp_path / "none", type="random_walk")
    with pytest.raises(InputError, match="is missing; rerun `pcc boundaries`"):
        pseudo_masks(
            manifest,
            maps["001"],
            tmp_path / "other",
            type="random_walk",
            boundaries=tmp_path / "boundaries.safetensors",
        )
