"""A folder of images with labels from a CSV or from the folders' names, and masks where there are any.

Images may lie in folders inside the image folder; the id of ``cats/1.jpg`` is ``cats__1``, and its mask is
``cats/1.png`` in the folder of masks. A path that leads out of the folder is refused.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pcc.data import image_ids as ids
from pcc.data.classes import did_you_mean, read_classes
from pcc.data.images import SUFFIXES, files_below
from pcc.data.manifest import SPLITS, Dataset, Manifest, Record
from pcc.data.tables import read_table
from pcc.runtime.errors import InputError
from pcc.runtime.settings import ClassNames, File, Fraction, Separator, Text

Row = tuple[str, str, tuple[str, ...], str | None]  # row, file name, labels, split


def read(
    output: Path,  # noqa: ARG001 - every reader has it
    *,
    images: File,
    tags: File | None = None,
    masks: File | None = None,
    image_column: Text = "image",
    tags_column: Text = "tags",
    separator: Separator = ";",
    split_column: Text | None = None,
    val_share: Fraction = 0.2,
    classes: ClassNames | File | None = None,
    taxonomy: Mapping[Text, ClassNames] | None = None,
) -> Manifest:
    """Read a folder of images; nothing is written.

    Args:
        output: folder of the data set, unused here.
        images: folder of the images.
        tags: CSV with one row for each image; None: the folder of an image inside ``images`` is its label.
        masks: folder of PNG masks with the images' names; images without one are not scored.
        image_column: column of the image's file name inside ``images``; its suffix may be left out.
        tags_column: column of the tags; an empty cell is an image without objects.
        separator: between two labels in a cell.
        split_column: column that says ``train`` or ``val``; without it ``val_share`` decides.
        val_share: share of the images that goes to val, 0..1, by a hash of the id: an image keeps its split
            when others come or go.
        classes: names in the order of their ids, or a class list in YAML; the labels themselves, sorted, when
            not given (then no misspelling can be noticed).
        taxonomy: group → names; that of the class list when not given.

    Raises:
        InputError: a setting or the table cannot be used; faults of single rows are in the manifest's
            ``problems``.
    """
    if split_column is None and not 0 <= val_share <= 1:
        raise InputError(f"dataset.settings.val_share: {val_share} is not between 0 and 1")
    if split_column is not None and tags is None:
        raise InputError("dataset.settings.split_column: needs a table; set dataset.settings.tags")
    folder, mask_folder = Path(images), None if masks is None else Path(masks)
    if not folder.is_dir():
        raise InputError(f"{folder}: folder of images is missing; check dataset.settings.images")
    if mask_folder is not None and not mask_folder.is_dir():
        raise InputError(f"{mask_folder}: folder of masks is missing; check dataset.settings.masks")
    records: list[Record] = []
    problems: list[str] = []
    rows = (
        _folder_rows(folder, mask_folder)
        if tags is None
        else _table_rows(Path(tags), image_column, tags_column, split_column, separator, problems)
    )
    for where, named, found, given in rows:
        name = _with_suffix(folder, named)
        image_id = ids.from_file_name(name)
        split = hashed_split(image_id, val_share) if given is None else given
        if split not in SPLITS:
            near = did_you_mean(split, SPLITS)
            problems.append(f"{where}: split '{split}'{near} is not one of {', '.join(SPLITS)}; correct it")
            continue
        mask = None if mask_folder is None or ids.fault(image_id) else _mask(mask_folder, name)
        records.append(Record(image_id, folder / name, found, mask, split, scored=mask is not None, where=where))
    tags_met = sorted({tag for record in records for tag in record.labels})
    names, groups = read_classes(tags_met if classes is None else classes)
    if taxonomy is not None:
        groups = {group: tuple(members) for group, members in taxonomy.items()}
    sources = () if tags is None else (Path(tags),)
    return Manifest(Dataset(folder.name, names, groups), tuple(records), tuple(problems), sources)


def _table_rows(
    table: Path, image_column: str, tags_column: str, split_column: str | None, separator: str, problems: list[str]
) -> Iterator[Row]:
    columns = [image_column, tags_column, *([split_column] if split_column else [])]
    for line, row in read_table(table, columns, problems):
        split = row[split_column].strip() if split_column else None
        yield (f"{table} line {line}", row[image_column].strip(), split_tags(row[tags_column], separator), split)


def split_tags(cell: str, separator: str) -> tuple[str, ...]:
    """The labels of one cell, each once."""
    return tuple(dict.fromkeys(tag.strip() for tag in cell.split(separator) if tag.strip()))


def _folder_rows(folder: Path, masks: Path | None) -> Iterator[Row]:
    for file in files_below(folder, without=masks):
        inside = file.relative_to(folder)
        yield str(file), inside.as_posix(), inside.parts[:-1][:1], None


def _with_suffix(folder: Path, name: str) -> str:
    """The name of the image file there is, where its suffix was left out."""
    if not name or ids.fault(ids.from_file_name(name)) or (folder / name).is_file():
        return name
    found = (name + suffix for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)))
    return next((full for full in found if (folder / full).is_file()), name)


def _mask(folder: Path, name: str) -> Path | None:
    path = (folder / name).with_suffix(".png")
    return path if path.is_file() else None


def hashed_split(image_id: str, val_share: float) -> str:
    """``val`` for about ``val_share`` of all ids, always the same ones."""
    number = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8]) / 2**64
    return "val" if number < val_share else "train"
