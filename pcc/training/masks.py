"""Training on masks: which ones, their checks (value range, coverage, class histogram), and the training itself."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcc.artifacts.masks import read_mask
from pcc.data.manifest import Manifest, Record
from pcc.ids import BACKGROUND, IGNORE
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log
from pcc.trainable import Trainable
from pcc.training.run import train_to


def train_on_masks(
    output: Path,
    build: Callable[[], Trainable],
    description: Mapping[str, Any],
    *,
    data: Manifest,
    masks: Mapping[str, Path],
    seed: int,
    **settings: Any,
) -> None:
    """Check the masks, build the network from ``seed``, and train it on the images that have one.

    Args:
        output: see `train_to`; ``description`` and ``settings`` too.
        build: makes the network.
        data: the data set.
        masks: mask by image id.
        seed: seed of initial weights, order and augmentation.

    Raises:
        InputError: see `check_training_masks`.
    """
    check_training_masks(masks, data)
    torch.manual_seed(seed)
    records = [record for record in data.select(split="train") if record.image_id in masks]
    train_to(output, build(), description, data=data, records=records, masks=masks, seed=seed, **settings)


def check_training_masks(files: Mapping[str, Path], manifest: Manifest) -> None:
    """Validate training masks and log the class histogram; warn about labelled classes without pixels.

    Args:
        files: mask by image id.
        manifest: classes and labels.

    Raises:
        InputError: invalid class ids, or no foreground pixel in any mask.
    """
    dataset = manifest.dataset
    histogram = np.zeros(256, dtype=np.int64)
    problems = []
    for path in files.values():
        counts = np.bincount(read_mask(path).ravel(), minlength=256)
        histogram += counts
        if (wrong := np.flatnonzero(counts[dataset.num_classes : IGNORE])).size:
            first = wrong[0] + dataset.num_classes
            problems.append(
                f"{path}: invalid value {first}; class ids of {dataset.name} are 0..{dataset.num_foreground} and 255"
            )
    if problems:
        raise InputError(problems)
    total = histogram.sum()
    names = [BACKGROUND, *dataset.classes]
    fractions = {name: histogram[i] / total for i, name in enumerate(names)} | {"ignored": histogram[IGNORE] / total}
    log.info("masks of %d images: %s", len(files), ", ".join(f"{n} {s:.1%}" for n, s in fractions.items() if s))
    if not histogram[1 : dataset.num_classes].any():
        raise InputError(
            f"all {len(files)} training masks hold only background; check the maps (`pcc inspect`) and the "
            "refinement settings"
        )
    labelled = {name for record in manifest.records if record.image_id in files for name in record.labels}
    if lost := [name for name in dataset.classes if name in labelled and not fractions[name]]:
        log.warning("labelled classes without a pixel in any training mask: %s", ", ".join(lost))


def pseudo_masks_of(records: Sequence[Record], folders: Sequence[Path]) -> dict[str, Path]:
    """Pseudo mask by image id, from the folders of all shards.

    Raises:
        InputError: an image has no pseudo mask.
    """
    found = {file.stem: file for folder in folders for file in folder.glob("*.png")}
    if missing := [record.image_id for record in records if record.image_id not in found]:
        raise InputError(
            f"{len(missing)} training images have no pseudo mask, first {missing[0]}; "
            "run `pcc pseudo_masks` for all shards"
        )
    return {record.image_id: found[record.image_id] for record in records}
