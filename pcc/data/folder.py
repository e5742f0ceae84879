"""Any data set of one's own: a folder of images, a CSV of tags, and masks if there are some.

Images may lie in folders inside the image folder; the id of ``cats/1.jpg`` is ``cats__1``, and its mask is
``cats/1.png`` in the folder of masks. A path that leads out of the folder is refused.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pcc.data import ids
from pcc.data.classes import did_you_mean, read_classes
from pcc.data.manifest import SPLITS, Dataset, Manifest, Record
from pcc.data.tables import read_table
from pcc.errors import InputError


def read(
    output: Path,  # noqa: ARG001 - every reader has it
    *,
    images: str,
    tags: str,
    masks: str | None = None,
    image_column: str = "image",
    tags_column: str = "tags",
    separator: str = ";",
    split_column: str | None = None,
    val_share: float = 0.2,
    classes: Sequence[str] | str | None = None,
    taxonomy: Mapping[str, Sequence[str]] | None = None,
) -> Manifest:
    """Read a folder of images; nothing is written.

    Args:
        output: folder of the data set, unused here.
        images: folder of the images.
        tags: CSV with one row for each image.
        masks: folder of PNG masks with the images' names; images without one are not scored.
        image_column: column of the image's file name inside ``images``, with its suffix.
        tags_column: column of the tags; an empty cell is an image without objects.
        separator: what stands between two tags.
        split_column: column that says ``train`` or ``val``; without it ``val_share`` decides.
        val_share: share of the images that goes to val, 0..1, by a hash of the id: an image keeps its split
            when others come or go.
        classes: names in the order of their ids, or a class list in YAML; the tags themselves, sorted, when
            not given (then no misspelling can be noticed).
        taxonomy: group → names; that of the class list when not given.

    Raises:
        InputError: a setting or the table cannot be used; faults of single rows are in the manifest's
            ``problems``.
    """
    if split_column is None and not 0 <= val_share <= 1:
        raise InputError(f"dataset.settings.val_share: {val_share} is not between 0 and 1")
    folder, table = Path(images), Path(tags)
    if not folder.is_dir():
        raise InputError(f"{folder}: folder of images is missing; check dataset.settings.images")
    if masks is not None and not Path(masks).is_dir():
        raise InputError(f"{masks}: folder of masks is missing; check dataset.settings.masks")
    records: list[Record] = []
    problems: list[str] = []
    columns = [image_column, tags_column, *([split_column] if split_column else [])]
    for line, row in read_table(table, columns, problems):
        where, name = f"{table} line {line}", row[image_column].strip()
        image_id = ids.from_file_name(name)
        split = row[split_column].strip() if split_column else hashed_split(image_id, val_share)
        if split not in SPLITS:
            near = did_you_mean(split, SPLITS)
            problems.append(f"{where}: split '{split}'{near} is not one of {', '.join(SPLITS)}; correct it")
            continue
        found = tuple(dict.fromkeys(tag.strip() for tag in row[tags_column].split(separator) if tag.strip()))
        mask = None if masks is None or ids.fault(image_id) else _mask(Path(masks), name)
        records.append(
            Record(image_id, folder / name, found, mask, split, scored=mask is not None, where=where)
        )
    tags_met = sorted({tag for record in records for tag in record.labels})
    names, groups = read_classes(tags_met if classes is None else classes)
    if taxonomy is not None:
        groups = {group: tuple(members) for group, members in taxonomy.items()}
    return Manifest(Dataset(folder.name, names, groups), tuple(records), tuple(problems), (table,))


def _mask(folder: Path, name: str) -> Path | None:
    path = (folder / name).with_suffix(".png")
    return path if path.is_file() else None


def hashed_split(image_id: str, val_share: float) -> str:
    """``val`` for about ``val_share`` of all ids, always the same ones."""
    number = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8]) / 2**64
    return "val" if number < val_share else "train"
