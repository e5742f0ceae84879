"""Train a method's classifier on image-level labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pcc.artifacts.clusters import read_clusters
from pcc.artifacts.networks import WEIGHTS, read_description, read_weights
from pcc.data.manifest import Manifest, manifest_files
from pcc.methods.loading import load_method
from pcc.runtime.errors import InputError, reason
from pcc.runtime.plugins import load_attribute
from pcc.runtime.stage import stage
from pcc.training.run import TrainingSettings, train_to


@stage(writes="inside")
def train(
    manifest: Path,
    clusters: Path,
    output: Path,
    *,
    type: str,
    model: dict[str, Any],
    training: TrainingSettings,
    after: Mapping[str, Path] | None = None,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Train on the image-level labels of the training split; masks are never read.

    Args:
        manifest: manifest.csv.
        clusters: clusters.json.
        output: folder of weights.safetensors, model.json, losses.csv, tensorboard/, provenance.json.
        type: module of `pcc.methods`.
        model: settings of the method.
        training: settings of `pcc.training.run.Training`.
        after: folders of trained methods to start from, by role: a keyword of the method's constructor, which
            receives their type, clusters and settings.
        seed: seed of initial weights, order, augmentation and dropout.
        threads: CPU threads.
    """
    data = Manifest.read(manifest, unchanged=["image"])
    names = data.dataset.classes
    members = [[names.index(name) for name in cluster] for cluster in read_clusters(clusters)]
    folders = after or {}
    model = {**model, **{role: _described(folder, names) for role, folder in folders.items()}}
    torch.manual_seed(seed)
    method = load_method(type, names, members, model)
    if folders:
        weights = {role: read_weights(folder / WEIGHTS) for role, folder in folders.items()}
        try:
            method.start_from(weights)
        except (RuntimeError, KeyError) as error:
            places = ", ".join(map(str, folders.values()))
            raise InputError(f"after: weights of {places} do not fit {type} ({reason(error)}); retrain them") from error
    description = {"type": type, "classes": list(names), "clusters": members, "model": model}
    by_masks = any(phase.get("select") == "masks" for phase in training["phases"])
    # Loaded by name, so that other trainings do not depend on the scoring code.
    score = load_attribute("pcc.scoring", "selection", "mask_score", "select") if by_masks else None
    train_to(
        output,
        method,
        description,
        data=data,
        records=data.select(split="train"),
        training=training,
        inputs=[
            *manifest_files(manifest),
            clusters,
            *(folder / WEIGHTS for folder in folders.values()),
            *_files_in(model),
        ],
        seed=seed,
        threads=threads,
        score=score and score(method, data, training["image_size"]),
    )


def _described(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Type, clusters and settings of a trained method with the same classes."""
    found = read_description(folder, "type", "classes", "clusters", "model")
    if found["classes"] != list(classes):
        raise InputError(f"{folder}: trained on other classes; retrain it on this data set")
    return {key: found[key] for key in ("type", "clusters", "model")}


def _files_in(settings: Any) -> list[Path]:
    """Files named in settings, such as weights; a resumed run must use the same."""
    if isinstance(settings, str):
        return [Path(settings)] if Path(settings).suffix and Path(settings).is_file() else []
    values = settings.values() if isinstance(settings, Mapping) else settings if isinstance(settings, list) else ()
    return [file for value in values for file in _files_in(value)]
