"""Counts summed over images, chunk by chunk, in any order and process."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, UInt8

from pcc.artifacts.maps import Maps, read_maps
from pcc.artifacts.masks import read_mask
from pcc.data.manifest import Record
from pcc.ids import IGNORE
from pcc.maps import resize, to_mask
from pcc.metrics import boundary_counts, confusion_matrix, mean_iou
from pcc.runtime.errors import InputError
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import track
from pcc.scoring.oracle import THRESHOLDS, threshold_counts

Item = tuple[Record, Path | Maps]
T = TypeVar("T")
CHUNK = 16


@dataclass(frozen=True)
class Scoring:
    """Settings of the counting.

    Attributes:
        kind: type of the inputs: ``maps``, ``pseudo_masks`` or ``predictions``.
        num_classes: background included.
        scored: class ids in the mean IoU of an image.
        boundary_ratio: width of the boundary region, as a fraction of the image diagonal.
        by_mask: also count each mask (image and class) separately.
    """

    kind: str
    num_classes: int
    scored: tuple[int, ...]
    boundary_ratio: float
    by_mask: bool = False


@dataclass
class Counts:
    """Sums over images.

    Attributes:
        confusion: pixels by ground-truth and predicted class.
        boundary: intersection and union of each class's boundary regions.
        sweep: see `threshold_counts`; maps only.
        scores: mean IoU by image id.
        masks: intersection and union of each mask by image and class id, if the union is not empty.
        problems: one line per image that cannot be scored.
    """

    confusion: Int64[np.ndarray, "C C"]
    boundary: Int64[np.ndarray, "2 C"]
    sweep: Int64[np.ndarray, "T1 C C"]
    scores: dict[str, float] = field(default_factory=dict)
    masks: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def none(cls, num_classes: int) -> "Counts":
        """Zero counts."""
        square = (num_classes, num_classes)
        empty = partial(np.zeros, dtype=np.int64)
        return cls(empty(square), empty((2, num_classes)), empty((len(THRESHOLDS) + 1, *square)))

    def add(self, other: "Counts") -> None:
        """Add other counts in place."""
        self.confusion += other.confusion
        self.boundary += other.boundary
        self.sweep += other.sweep
        self.scores |= other.scores
        self.masks |= other.masks
        self.problems += other.problems


def count_all(scoring: Scoring, inputs: Sequence[Path], records: Sequence[Record], processes: int) -> Counts:
    """Counts over all ``records``.

    Raises:
        InputError: one line per image that cannot be scored, or a list of missing images.
    """
    total = Counts.none(scoring.num_classes)
    chunks = chunked(read_items(scoring.kind, inputs, records), CHUNK)
    done = map_in_processes(partial(count_chunk, scoring), chunks, processes)
    for counts in track(done, f"score {scoring.kind} ({CHUNK} images at a time)", -(-len(records) // CHUNK)):
        total.add(counts)
    if total.problems:
        raise InputError(total.problems)
    if missing := [record.image_id for record in records if record.image_id not in total.scores]:
        raise InputError(
            f"{len(missing)} of {len(records)} images to score are in no --input: {', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''}; pass every shard of {scoring.kind}, or rerun the previous stage"
        )
    return total


def read_items(kind: str, inputs: Iterable[Path], records: Sequence[Record]) -> Iterator[Item]:
    """Records found in the inputs, with their maps or mask file.

    Raises:
        InputError: a missing input, or an image in two inputs.
    """
    wanted, seen = {record.image_id: record for record in records}, set[str]()
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path}: input is missing; rerun the stage that writes {kind}")
        found = read_maps(path) if kind == "maps" else ((mask.stem, mask) for mask in sorted(path.glob("*.png")))
        for image_id, output in found:
            if image_id in seen:
                raise InputError(f"{path}: image {image_id} is in another --input too; pass each shard once")
            if image_id in wanted:
                seen.add(image_id)
                yield wanted[image_id], output


def count_chunk(scoring: Scoring, items: Sequence[Item]) -> Counts:
    """Counts of a chunk of images; failures are collected in ``problems``."""
    total = Counts.none(scoring.num_classes)
    for record, output in items:
        try:
            _count(scoring, record, output, total)
        except InputError as error:
            total.problems += error.problems
        except ValueError as error:
            total.problems.append(f"image {record.image_id}: {error} ({record.mask}); rerun the previous stage")
    return total


def _count(scoring: Scoring, record: Record, output: Path | Maps, total: Counts) -> None:
    assert record.mask is not None
    truth, prediction = read_mask(record.mask), predicted_mask(scoring.kind, output)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape} but the ground truth is {truth.shape} (height, width)")
    confusion = confusion_matrix(prediction, truth, scoring.num_classes)
    total.confusion += confusion
    total.boundary += boundary_counts(prediction, truth, scoring.num_classes, scoring.boundary_ratio)
    total.scores[record.image_id] = mean_iou(confusion, scoring.scored)
    if scoring.by_mask:
        either = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
        for class_id in np.flatnonzero(either[1:]) + 1:
            shared = int(confusion[class_id, class_id])
            total.masks[record.image_id, int(class_id)] = (shared, int(either[class_id]))
    if isinstance(output, Maps):
        total.sweep += threshold_counts_of(output, truth, scoring.num_classes)


def threshold_counts_of(maps: Maps, truth: UInt8[np.ndarray, "H W"], num_classes: int) -> Int64[np.ndarray, "T1 C C"]:
    """`threshold_counts` of the foreground maps of an image, resized to image size."""
    foreground = [channel for channel, class_id in enumerate(maps.classes) if class_id > 0]
    values = (
        resize(maps.values[None, foreground], maps.size)[0].numpy()
        if foreground
        else np.zeros((0, *truth.shape), dtype=np.float32)
    )
    return threshold_counts(values, [maps.classes[channel] for channel in foreground], truth, num_classes)


def predicted_mask(kind: str, output: Path | Maps) -> UInt8[np.ndarray, "H W"]:
    """Class ids to score: argmax of maps, a prediction, or a pseudo mask with ignored pixels as background."""
    if isinstance(output, Maps):
        return to_mask(output.values, output.classes, output.size)
    mask = read_mask(output)
    return np.where(mask == IGNORE, np.uint8(0), mask) if kind == "pseudo_masks" else mask


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` consecutive items; the last may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
