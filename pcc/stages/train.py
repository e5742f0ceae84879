"""Train a method's classifier on image-level labels."""

from pathlib import Path
from typing import Any

import torch

from pcc.artifacts import read_clusters
from pcc.data.manifest import Manifest
from pcc.methods import load_method
from pcc.stages.trained import train_to


def train(
    manifest: Path,
    clusters: Path,
    output: Path,
    *,
    type: str,
    model: dict[str, Any],
    training: dict[str, Any],
    seed: int = 0,
    threads: int = 1,
    code: str = "",
) -> None:
    """Train on the tags of the training split; masks are not opened.

    Args:
        manifest: manifest.csv.
        clusters: clusters.json.
        output: folder for weights.safetensors, model.json, losses.csv, tensorboard/, provenance.json.
        type: method, the name of a module of `pcc.methods`.
        model: settings of the method.
        training: see `pcc.stages.trained.train_to`.
        seed: of initial weights, order, augmentation and dropout.
        threads: CPU threads.
        code: fingerprint of the stage's code.
    """
    data = Manifest.read(manifest)
    names = data.dataset.classes
    members = [[names.index(name) for name in cluster] for cluster in read_clusters(clusters)]
    torch.manual_seed(seed)
    method = load_method(type, data.dataset.num_foreground, members, model)
    description = {"type": type, "classes": list(names), "clusters": members, "model": model}
    train_to(
        output,
        method,
        description,
        manifest=manifest,
        records=data.select(split="train"),
        masks=None,
        training=training,
        inputs=[manifest, clusters],
        seed=seed,
        threads=threads,
        code=code,
    )
