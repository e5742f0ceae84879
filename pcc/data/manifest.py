"""The manifest: images, their labels, masks, splits and shards.

Class ids of the whole package: 0 is background, 255 is ignored, and index i of a vector over the K
foreground classes is class id i + 1. ``num_classes`` counts background, ``num_foreground`` does not.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from pcc.data import image_ids as ids
from pcc.data.stamps import changed_files
from pcc.data.tables import csv_text, read_table
from pcc.ids import BACKGROUND
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_as, write_json, write_text

SEPARATOR = ";"
SPLITS = ("train", "val")
COLUMNS = ("image_id", "image", "labels", "mask", "split", "shard", "scored")
STAMPS = ("image_stamp", "mask_stamp")  # not in a manifest made by hand
MAX_FOREGROUND = 254


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    Attributes:
        image_id: its unique name, usable as a file name.
        image: path of the image, usable from the working directory.
        labels: names of the classes present; none for an image of background only.
        mask: path of its mask (PNG of class ids), where there is one.
        split: ``train`` or ``val``.
        shard: ``000``, ``001``, ... within the split.
        scored: whether its mask may be scored.
        image_stamp: `pcc.data.stamps.stamp` of the image as `prepare` read it; empty: not known.
        mask_stamp: that of the mask.
        where: file and line it came from, for messages; not stored.
    """

    image_id: str
    image: Path
    labels: tuple[str, ...]
    mask: Path | None
    split: str
    shard: str = "000"
    scored: bool = True
    image_stamp: str = ""
    mask_stamp: str = ""
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Dataset:
    """What all images have in common.

    Attributes:
        name: the data set's name, a path segment of its results.
        classes: the K foreground names; the i-th has class id i + 1.
        taxonomy: the data set's own grouping of the names, where it has one.
        eval_classes: foreground names that are scored besides background; all when empty is given.

    Raises:
        InputError: names that are empty, repeated or reserved, or scored classes that do not exist.
    """

    name: str
    classes: tuple[str, ...]
    taxonomy: dict[str, tuple[str, ...]] | None = None
    eval_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"data set {self.name}: class name {name!r} {fault}"
            for name in dict.fromkeys(self.classes)
            if (fault := _name_fault(name, self.classes))
        ]
        if not 1 <= len(self.classes) <= MAX_FOREGROUND:
            problems.append(f"data set {self.name}: {len(self.classes)} classes; give 1 to {MAX_FOREGROUND}")
        problems += [
            f"data set {self.name}: eval_classes names '{name}', which is not one of its classes"
            for name in self.eval_classes
            if name not in self.classes
        ]
        if problems:
            raise InputError(problems)
        if not self.eval_classes:
            object.__setattr__(self, "eval_classes", self.classes)

    @property
    def num_foreground(self) -> int:
        """K, without background."""
        return len(self.classes)

    @property
    def num_classes(self) -> int:
        """K + 1, background included."""
        return len(self.classes) + 1

    @property
    def eval_ids(self) -> tuple[int, ...]:
        """Ids of the classes that means are taken over: background and the scored names."""
        return (0, *(1 + self.classes.index(name) for name in self.eval_classes))


@dataclass(frozen=True)
class Manifest:
    """A data set's images.

    Attributes:
        dataset: classes and taxonomy.
        records: the images, in the order the stages work through them.
        problems: what a reader could not accept, one line each; `prepare` refuses such a manifest.
        sources: the files a reader took ids and labels from; their digests go to the provenance.
        notes: what a reader left out or decided, one line each; printed, not stored.
    """

    dataset: Dataset
    records: tuple[Record, ...]
    problems: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, path: Path, split: str | None = None, shard: str | None = None, unchanged: Collection[str] = ()
    ) -> "Manifest":
        """Read ``manifest.csv`` and the ``dataset.json`` beside it.

        Args:
            path: of the CSV.
            split: only images of this split are kept, so that memory does not grow with the others.
            shard: likewise.
            unchanged: ``image``, ``mask`` or both: files that must be those that `prepare` read.

        Raises:
            InputError: a file is missing or not what `prepare` writes, there is no such image, or images or masks
                have changed.
        """
        beside = manifest_files(path)[1]
        if not beside.is_file():
            raise InputError(f"{beside}: file is missing; run `pcc prepare`")
        dataset = read_as(beside, Dataset, "pcc prepare")
        kept = tuple(
            _record(row, f"{path} line {line}", dataset)
            for line, row in read_table(path, COLUMNS)
            if split in (None, row["split"]) and shard in (None, row["shard"])
        )
        found = cls(dataset, kept)
        if split is not None:
            found.select(split, shard)  # an error where there are none
        if changed := list(changed_files(found._stamped(unchanged), path.stat().st_mtime_ns)):
            first, more = ", ".join(changed[:5]), f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise InputError(f"{path}: no longer the files that `pcc prepare` read: {first}{more}; run it again")
        return found

    def _stamped(self, kinds: Collection[str]) -> Iterator[tuple[Path, str]]:
        for record in self.records:
            if "image" in kinds:
                yield record.image, record.image_stamp
            if "mask" in kinds and record.mask is not None:
                yield record.mask, record.mask_stamp

    def write(self, folder: Path) -> list[Path]:
        """Write ``manifest.csv`` and ``dataset.json`` into ``folder``, each atomically; return their paths."""
        data = self.dataset
        files = manifest_files(folder / "manifest.csv")
        write_json(
            files[1],
            {"name": data.name, "classes": data.classes, "taxonomy": data.taxonomy, "eval_classes": data.eval_classes},
        )
        rows = (
            (
                r.image_id,
                r.image.as_posix(),
                SEPARATOR.join(r.labels),
                "" if r.mask is None else r.mask.as_posix(),
                r.split,
                r.shard,
                int(r.scored),
                r.image_stamp,
                r.mask_stamp,
            )
            for r in self.records
        )
        write_text(files[0], csv_text((*COLUMNS, *STAMPS), rows))
        return files

    def select(self, split: str | None = None, shard: str | None = None) -> list[Record]:
        """The records of one split, of one shard number, of both, or all.

        Raises:
            InputError: there are none.
        """
        chosen = [r for r in self.records if split in (None, r.split) and shard in (None, r.shard)]
        if not chosen:
            raise InputError(
                f"data set {self.dataset.name}: no image in split {split or 'any'}, shard "
                f"{shard or 'any'}; splits are {', '.join(SPLITS)}, shards come from dataset.shards"
            )
        return chosen

    def image_labels(self, record: Record) -> Float32[np.ndarray, " K"]:
        """The record's labels as a multi-hot vector [K]."""
        vector = np.zeros(self.dataset.num_foreground, dtype=np.float32)
        vector[[class_id - 1 for class_id in self.class_ids(record)]] = 1
        return vector

    def class_ids(self, record: Record) -> list[int]:
        """Ids of the record's classes, 1-based and sorted."""
        return sorted(self.dataset.classes.index(name) + 1 for name in record.labels)


def manifest_files(manifest: Path) -> list[Path]:
    """The two files of a manifest: ``manifest.csv`` and the ``dataset.json`` beside it."""
    return [manifest, manifest.with_name("dataset.json")]


def _name_fault(name: str, classes: tuple[str, ...]) -> str | None:
    if not name or name != name.strip() or not name.isprintable():
        return "is empty or has blanks at its ends; rename it"
    if SEPARATOR in name or name == BACKGROUND:
        return f"is reserved ('{BACKGROUND}' and names with '{SEPARATOR}'); rename it"
    return "is listed more than once; keep one" if classes.count(name) > 1 else None


def _record(row: dict[str, str], where: str, dataset: Dataset) -> Record:
    labels = tuple(name for name in row["labels"].split(SEPARATOR) if name)
    if unknown := [name for name in labels if name not in dataset.classes]:
        raise InputError(f"{where}: labels not in dataset.json: {', '.join(unknown)}; run `pcc prepare` again")
    if row["split"] not in SPLITS:
        raise InputError(f"{where}: split '{row['split']}' is not one of {', '.join(SPLITS)}")
    if row["scored"] not in ("0", "1"):
        raise InputError(f"{where}: scored '{row['scored']:.80}' is not 0 or 1; run `pcc prepare` again")
    if fault := ids.fault(row["image_id"]):  # masks and maps are stored under it
        raise InputError(f"{where}: image id {row['image_id']!r:.300} {fault}; run `pcc prepare` again")
    return Record(
        row["image_id"],
        Path(row["image"]),
        labels,
        Path(row["mask"]) if row["mask"] else None,
        row["split"],
        row["shard"],
        row["scored"] == "1",
        **{name: row.get(name, "") for name in STAMPS},
        where=where,
    )
