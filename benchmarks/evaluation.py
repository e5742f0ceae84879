"""Scoring 400 photographs' masks, against the two loops that evaluation scripts of the field have.

    python benchmarks/evaluation.py

*By class*: for each image and class, predicted, true and shared pixels as sums of boolean masks over the whole image,
as the scripts of IRN, SEAM and SIPE do; that gives IoU and no more. *By pair*: for each image and pair of classes the
pixels of the pair, which gives the confusion matrix that we write. Ours is `confusion_matrix`. All three are given the
same arrays of bytes, in one process on one thread, and have to give the same counts and mean IoU to the last bit.

The first rows are counting alone. What a user waits for includes reading both PNGs, the same work on both sides; the
workflow gives a split of many shards several processes, so the row `with reading` has ours on two. Both sides on one
process, and both on two, are told beside it, and so is what the stage takes that counts boundary regions too. The masks
are the pseudo masks that SIPE's maps give voc12_mini's training images; those of 81 classes are drawn, of many sizes.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read once, by the import below

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import real
from measure import Claim, end, in_turn, quietly, ratio

from pcc.artifacts.masks import read_mask
from pcc.data.manifest import Record
from pcc.ids import IGNORE
from pcc.metrics import confusion_matrix, mean_iou
from pcc.runtime.parallel import map_in_processes
from pcc.scoring.counting import Scoring, chunked, count_all

FOLDERS = [real.RESULTS / f"sipe/seed-0/iscam/argmax/pseudo_masks/{shard}" for shard in ("000", "001")]
VOC, COCO = 21, 81
DRAWN = 40
CHUNK = 16

Pair = tuple[np.ndarray, np.ndarray]  # prediction and truth
Files = tuple[Path, Path]


class Sums(NamedTuple):
    """Pixels of each class over all images: predicted and true, predicted, true."""

    shared: np.ndarray
    predicted: np.ndarray
    true: np.ndarray

    def mean_iou(self) -> float:
        with np.errstate(invalid="ignore"):
            scores = self.shared / (self.predicted + self.true - self.shared)
        return float(scores[~np.isnan(scores)].mean())  # np.nanmean adds in another order: other last digits


def by_class(pairs: Iterable[Pair], num_classes: int) -> Sums:
    sums = Sums(*np.zeros((3, num_classes), dtype=np.int64))
    for predict, gt in pairs:
        cal = gt < IGNORE
        mask = (predict == gt) * cal
        for i in range(num_classes):
            sums.predicted[i] += np.sum((predict == i) * cal)
            sums.true[i] += np.sum((gt == i) * cal)
            sums.shared[i] += np.sum((gt == i) * mask)
    return sums


def by_pair(pairs: Iterable[Pair], num_classes: int) -> np.ndarray:
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    for predict, gt in pairs:
        for i in range(num_classes):
            of_class = gt == i
            for j in range(num_classes):
                confusion[i, j] += np.sum(of_class & (predict == j))
    return confusion


def ours(pairs: Iterable[Pair], num_classes: int) -> np.ndarray:
    return sum(confusion_matrix(predict, gt, num_classes) for predict, gt in pairs)


def equal(found: np.ndarray, sums: Sums, confusion: np.ndarray) -> bool:
    """Whether all three say the same, to the last pixel and the last bit."""
    counts = (np.diag(found), found.sum(axis=0), found.sum(axis=1))
    return (
        np.array_equal(found, confusion)
        and all(map(np.array_equal, counts, sums))
        and mean_iou(found) == sums.mean_iou()
    )


def read(files: Sequence[Files]) -> Iterable[Pair]:
    return ((read_mask(predict), read_mask(gt)) for predict, gt in files)


def from_files(count: Callable[[Iterable[Pair], int], object], files: Sequence[Files]) -> object:
    return count(read(files), VOC)


def on_processes(
    count: Callable[[Iterable[Pair], int], object], files: Sequence[Files], processes: int
) -> list[object]:
    """The sums of every few files, as the stage hands them out."""
    return list(map_in_processes(partial(from_files, count), chunked(files, CHUNK), processes))


def drawn(rng: np.random.Generator) -> Pair:
    """A photograph's worth of discs over one another, with ignored rims; a prediction that errs here and there."""
    height, width = rng.integers(240, 641, 2)
    y, x = np.ogrid[:height, :width]
    masks = np.zeros((2, height, width), dtype=np.uint8)
    for _ in range(rng.integers(1, 12)):
        radius, class_id = rng.integers(5, 200), rng.integers(1, COCO)
        cy, cx = rng.integers(height), rng.integers(width)
        distance = np.hypot(y - cy, x - cx)
        masks[1][distance < radius + 2] = IGNORE
        masks[1][distance < radius] = class_id
        shifted = np.hypot(y - cy - rng.integers(-9, 10), x - cx - rng.integers(-9, 10))
        masks[0][shifted < radius] = class_id if rng.random() < 0.8 else rng.integers(COCO)
    return masks[0], masks[1]


def whole_count(records: Sequence[Record], processes: int) -> object:
    """What the stage counts: confusion, boundary regions, a score of each image and mask."""
    return count_all(Scoring("pseudo_masks", VOC, tuple(range(VOC)), 0.02, True), FOLDERS, records, processes)


def counting(name: str, pairs: Sequence[Pair], num_classes: int, rounds: int, few: int) -> list[Claim]:
    """Both loops against ours; the loop over pairs is slow, so it sees only a few of the images."""
    sides = {
        "ours": partial(ours, pairs, num_classes),
        "by class": partial(by_class, pairs, num_classes),
        "ours, few": partial(ours, pairs[:few], num_classes),
        "by pair": partial(by_pair, pairs[:few], num_classes),
    }
    seconds = in_turn(sides, rounds)
    some = pairs[:few]
    same = equal(ours(some, num_classes), by_class(some, num_classes), by_pair(some, num_classes))
    whole, sums = ours(pairs, num_classes), by_class(pairs, num_classes)
    same &= all(map(np.array_equal, (np.diag(whole), whole.sum(axis=0), whole.sum(axis=1)), sums))
    same &= mean_iou(whole) == sums.mean_iou()
    facts = {"images": len(pairs), "mean_iou": round(mean_iou(whole), 6), "counts_equal": same}
    return [
        Claim(
            f"counting, {name}, against a loop over classes",
            ratio(seconds, "by class", "ours"),
            5,
            proven=same,
            seconds={side: seconds[side] for side in ("ours", "by class")},
            facts=facts,
        ),
        Claim(
            f"counting, {name}, against a loop over pairs",
            ratio(seconds, "by pair", "ours, few"),
            5,
            proven=same,
            seconds={side: seconds[side] for side in ("ours, few", "by pair")},
            facts=facts | {"images": few},
        ),
    ]


def reading_and_counting(files: Sequence[Files], records: Sequence[Record], rounds: int) -> Claim:
    seconds = in_turn(
        {
            "ours on 2": partial(on_processes, ours, files, 2),
            "by class": partial(on_processes, by_class, files, 1),
            "ours": partial(on_processes, ours, files, 1),
            "by class on 2": partial(on_processes, by_class, files, 2),
            "whole stage's count on 2": partial(whole_count, records, 2),
        },
        rounds,
    )
    found = sum(on_processes(ours, files, 2))
    sums = Sums(*np.sum([list(part) for part in on_processes(by_class, files, 1)], axis=0))
    counts = (np.diag(found), found.sum(axis=0), found.sum(axis=1))
    return Claim(
        "with reading, 21 classes, two processes against a script's one",
        ratio(seconds, "by class", "ours on 2"),
        5,
        proven=all(map(np.array_equal, counts, sums)) and mean_iou(found) == sums.mean_iou(),
        seconds=seconds,
        facts={
            "images": len(files),
            "one process each": round(ratio(seconds, "by class", "ours"), 2),
            "two processes each": round(ratio(seconds, "by class on 2", "ours on 2"), 2),
            "whole stage's count": round(ratio(seconds, "by class", "whole stage's count on 2"), 2),
        },
    )


def main() -> None:
    quietly()
    real.workflow(*FOLDERS)
    records = {record.image_id: record for record in real.training_images().records}
    paths = [path for folder in FOLDERS for path in sorted(folder.glob("*.png"))]
    chosen = [records[path.stem] for path in paths]
    files = [(path, record.mask) for path, record in zip(paths, chosen, strict=True) if record.mask is not None]
    rng = np.random.default_rng(0)
    claims = counting("21 classes", list(read(files)), VOC, rounds=5, few=20)
    claims += counting("81 classes", [drawn(rng) for _ in range(DRAWN)], COCO, rounds=3, few=2)
    end([*claims, reading_and_counting(files, chosen, rounds=5)])


if __name__ == "__main__":
    main()
