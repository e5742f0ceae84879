"""Train the final network on pseudo masks, or on true masks for comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from pcc.data.manifest import Manifest, Record
from pcc.models.segmenter import build_segmenter
from pcc.runtime.errors import InputError
from pcc.runtime.stage import stage
from pcc.training.masks import check_training_masks, pseudo_masks_of
from pcc.training.run import train_to


@stage
def train_segmenter(
    manifest: Path,
    output: Path,
    *,
    masks: Sequence[Path] = (),
    type: str,
    model: dict[str, Any],
    training: dict[str, Any],
    supervision: Literal["labels", "masks"] = "labels",
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Train on the pseudo masks in ``masks``, after checking them; ``supervision: masks`` takes the true ones.

    Args:
        manifest: manifest.csv.
        output: folder for weights.safetensors, model.json, losses.csv, tensorboard/, provenance.json.
        masks: folders of pseudo masks, one per shard; none for ``supervision: masks``.
        type: the name of a module of `pcc.models` that holds a segmenter.
        model: settings of the segmenter.
        training: settings of `pcc.training.run.Training`.
        supervision: ``labels`` for pseudo masks, ``masks`` for true ones.
        seed: of initial weights, order, augmentation and dropout.
        threads: CPU threads.
    """
    data = Manifest.read(manifest)
    records = data.select(split="train")
    files = _true_masks(records) if supervision == "masks" else pseudo_masks_of(records, masks)
    records = [record for record in records if record.image_id in files]
    check_training_masks(files, data)
    torch.manual_seed(seed)
    segmenter = build_segmenter(type, data.dataset.num_classes, model)
    description = {
        "type": type,
        "classes": list(data.dataset.classes),
        "model": model,
        "supervision": supervision,
    }
    train_to(
        output,
        segmenter,
        description,
        data=data,
        records=records,
        masks=files,
        training=training,
        inputs=[manifest, *masks],
        seed=seed,
        threads=threads,
    )


def _true_masks(records: Sequence[Record]) -> Mapping[str, Path]:
    files = {record.image_id: record.mask for record in records if record.mask is not None}
    if not files:
        raise InputError(
            "supervision: masks needs true masks, and no training image of this data set has one"
        )
    return files
