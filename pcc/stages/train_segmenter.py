"""Train the segmenter on pseudo masks, or on ground-truth masks as the fully supervised baseline."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pcc.data.manifest import Manifest, Record, manifest_files
from pcc.models.segmenter import build_segmenter
from pcc.runtime.errors import InputError
from pcc.runtime.stage import stage
from pcc.training.masks import pseudo_masks_of, train_on_masks
from pcc.training.run import TrainingSettings


@stage(writes="inside")
def train_segmenter(
    manifest: Path,
    output: Path,
    *,
    masks: Sequence[Path] = (),
    type: str,
    model: dict[str, Any],
    training: TrainingSettings,
    supervision: Literal["labels", "masks"] = "labels",
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Check the training masks, then train.

    Args:
        manifest: manifest.csv.
        output: folder of weights.safetensors, model.json, losses.csv, tensorboard/, provenance.json.
        masks: folders of pseudo masks, one per shard; none with ``supervision: masks``.
        type: module of `pcc.models` with a segmenter.
        model: settings of the segmenter.
        training: settings of `pcc.training.run.Training`.
        supervision: ``labels`` for pseudo masks, ``masks`` for ground-truth masks.
        seed: seed of initial weights, order, augmentation and dropout.
        threads: CPU threads.
    """
    data = Manifest.read(manifest, unchanged=["image", *["mask"] * (supervision == "masks")])
    records, names = data.select(split="train"), list(data.dataset.classes)
    train_on_masks(
        output,
        partial(build_segmenter, type, data.dataset.num_classes, model),
        {"type": type, "classes": names, "model": model, "supervision": supervision},
        data=data,
        masks=_ground_truth(records) if supervision == "masks" else pseudo_masks_of(records, masks),
        training=training,
        inputs=[*manifest_files(manifest), *masks],
        seed=seed,
        threads=threads,
    )


def _ground_truth(records: Sequence[Record]) -> Mapping[str, Path]:
    files = {record.image_id: record.mask for record in records if record.mask is not None}
    if not files:
        raise InputError("supervision: masks needs ground-truth masks; no training image of this data set has one")
    return files
