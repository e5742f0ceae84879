"""A look at the masks before anyone trains on them: value range, coverage, class histogram."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pcc.artifacts.masks import read_mask
from pcc.data.manifest import Manifest, Record
from pcc.ids import BACKGROUND, IGNORE
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log


def check_training_masks(files: Mapping[str, Path], manifest: Manifest) -> None:
    """Refuse masks that no segmenter can learn from; log the class histogram and what looks odd.

    A class that is tagged but covers no pixel at all is a warning, not an error: a small data set may hold it once.

    Args:
        files: mask by image id.
        manifest: classes and tags.

    Raises:
        InputError: values that are no class id, or masks that hold nothing but background and ignored pixels.
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
                f"{path}: value {first} is no class id of {dataset.name} (0..{dataset.num_foreground}, 255)"
            )
    if problems:
        raise InputError(problems)
    total = histogram.sum()
    names = [BACKGROUND, *dataset.classes]
    shares = {name: histogram[i] / total for i, name in enumerate(names)} | {
        "ignored": histogram[IGNORE] / total
    }
    log.info("masks of %d images: %s", len(files), ", ".join(f"{n} {s:.1%}" for n, s in shares.items() if s))
    if not histogram[1 : dataset.num_classes].any():
        raise InputError(
            f"all {len(files)} training masks hold only background: a segmenter would learn nothing else; look at the "
            "localization maps (`pcc inspect`) and at the refinement's settings"
        )
    tagged = {name for record in manifest.records if record.image_id in files for name in record.labels}
    if lost := [name for name in dataset.classes if name in tagged and not shares[name]]:
        log.warning("classes that are tagged but cover no pixel of any training mask: %s", ", ".join(lost))


def pseudo_masks_of(records: Sequence[Record], folders: Sequence[Path]) -> dict[str, Path]:
    """Mask by image id, from the folders of all shards.

    Raises:
        InputError: an image without one.
    """
    found = {file.stem: file for folder in folders for file in folder.glob("*.png")}
    if missing := [record.image_id for record in records if record.image_id not in found]:
        raise InputError(
            f"{len(missing)} training images have no pseudo mask, first {missing[0]}; "
            "run `pcc pseudo_masks` for all shards"
        )
    return {record.image_id: found[record.image_id] for record in records}
