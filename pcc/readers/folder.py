"""A folder of images with labels from a CSV or from the folders' names, and masks where there are any.

Images may lie in folders inside the image folder; the id of ``cats/1.jpg`` is ``cats__1``, and its mask is
``cats/1.png`` in the folder of masks. A path that leads out of the folder is refused.

Without a table, folders called as splits (train, val) may lie around those of the labels.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pcc.data import image_ids as ids
from pcc.data.classes import did_you_mean, read_classes
from pcc.data.images import SUFFIXES
from pcc.data.manifest import SPLITS, Dataset, Manifest, Record
from pcc.readers.image_tree import look_through, masks_among, without_mask_ending
from pcc.readers.label_table import YES, file_name, is_flags, read_label_table, split_tags
from pcc.runtime.errors import InputError, name_some
from pcc.runtime.settings import ClassNames, File, Fraction, Separator, Text

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), ""),  # left out
}
MASK_SUFFIXES = (*SUFFIXES, ".npy", ".npz", ".mat")  # of which only PNG is read


@dataclass(frozen=True)
class Row:
    """What a table's row, or a folder's file, says about one image; `split` is None where nothing says so."""

    where: str
    name: str
    labels: tuple[str, ...]
    split: str | None


def read(
    output: Path,
    *,
    images: File,
    tags: File | None = None,
    masks: File | None = None,
    image_column: Text = "image",
    tags_column: Text | ClassNames = "tags",
    separator: Separator = ";",
    split_column: Text | None = None,
    val_share: Fraction = 0.2,
    classes: ClassNames | File | None = None,
    taxonomy: Mapping[Text, ClassNames] | None = None,
) -> Manifest:
    """Read a folder of images; nothing is written.

    Args:
        output: folder of the data set; results around it are not images.
        images: folder of the images.
        tags: CSV with a row for each image, or for each object in it; None: the folder of an image inside ``images``
            is its label.
        masks: folder of PNG masks with the images' names; images without one are not scored.
        image_column: column of the image's file name inside ``images``; its suffix may be left out.
        tags_column: column of the tags, where an empty cell is an image without objects; or columns with 0 or 1 that
            are named after the classes.
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
    if split_column is not None and tags is None:
        raise InputError("dataset.settings.split_column: needs a table; set dataset.settings.tags")
    folder, mask_folder = Path(images), None if masks is None else Path(masks)
    if not folder.is_dir():
        raise InputError(f"{folder}: folder of images is missing; check dataset.settings.images")
    if mask_folder is not None and not mask_folder.is_dir():
        raise InputError(f"{mask_folder}: folder of masks is missing; check dataset.settings.masks")
    names, groups = ((), None) if classes is None else read_classes(classes)
    problems: list[str] = []
    notes: list[str] = []
    if tags is None:
        apart = [*([mask_folder] if mask_folder else []), *results_of(output, folder)]
        rows = _folder_rows(folder, apart, notes)
    else:
        table = Path(tags)
        rows = _table_rows(folder, table, image_column, tags_column, split_column, separator, names, problems)
        rows = _one_row_each(table, rows, notes)
    records: list[Record] = []
    for row in rows:
        image_id = ids.from_file_name(row.name)
        split = hashed_split(image_id, val_share) if row.split is None else row.split
        if split not in SPLITS:
            near = did_you_mean(split, SPLITS)
            problems.append(f"{row.where}: split '{split}'{near} is not one of {', '.join(SPLITS)}; correct it")
            continue
        mask = None if mask_folder is None or ids.fault(image_id) else _mask(mask_folder, row.name)
        scored = mask is not None
        records.append(Record(image_id, folder / row.name, row.labels, mask, split, scored=scored, where=row.where))
    if mask_folder is not None:
        problems += _other_masks(folder, mask_folder, records)
    if classes is None:
        names = tuple(sorted({tag for record in records for tag in record.labels}))
        problems += _same_but_for_case(records)
    if not names:
        raise InputError(problems or f"{tags or folder}: no image has a label; label them")
    if taxonomy is not None:
        groups = {group: tuple(members) for group, members in taxonomy.items()}
    sources = () if tags is None else (Path(tags),)
    return Manifest(Dataset(folder.name, names, groups), tuple(records), tuple(problems), sources, tuple(notes))


def results_of(output: Path, images: Path) -> list[Path]:
    """The folders of results around ``output`` that may lie among the images.

    Raises:
        InputError: the images lie where the results are written.
    """
    results = output.parent if output.name == "data" else output  # results/{dataset}/data
    if output.name == "data" and results.resolve() == images.resolve():
        raise InputError(f"{images}: folder of images is the folder of results too; choose another `results` or name")
    return [output, results]


def _table_rows(
    folder: Path,
    path: Path,
    image_column: str,
    tags_column: str | Sequence[str],
    split_column: str | None,
    separator: str,
    classes: Sequence[str],
    problems: list[str],
) -> list[Row]:
    flags = [] if isinstance(tags_column, str) else list(tags_column)
    columns = [image_column, *(flags or [str(tags_column)]), *([split_column] if split_column else [])]
    table = read_label_table(path, columns)
    problems += table.problems
    cells = [row[tags_column] for _, row in table.rows] if isinstance(tags_column, str) else []
    if isinstance(tags_column, str) and is_flags(cells) and not classes:
        found = table.flag_columns((image_column, split_column or ""))
        raise InputError(
            f"{path} line 1: column {tags_column} holds 0 and 1, not names of classes; set tags_column to a list of "
            f"such columns, [{', '.join(found)}], or write names"
        )
    rows = []
    for line, row in table.rows:
        where = f"{path} line {line}"
        if wrong := [name for name in flags if not is_flags([row[name], "1"])]:
            problems.append(f"{where}: column {wrong[0]} holds {row[wrong[0]]!r}; it must be 0 or 1")
            continue
        try:
            labels = (
                split_tags(row[tags_column], separator, classes)
                if isinstance(tags_column, str)
                else tuple(name for name in flags if row[name].strip().casefold() in YES)
            )
            file = _file(folder, row[image_column])
        except InputError as error:
            problems += [f"{where}: {problem}" for problem in error.problems]
            continue
        except OSError as error:
            problems.append(f"{where}: no file can be called so ({error.strerror}); correct column {image_column}")
            continue
        split = row[split_column].strip() if split_column else None
        rows.append(Row(where, file, labels, split))
    return rows


def _one_row_each(table: Path, rows: list[Row], notes: list[str]) -> list[Row]:
    """Rows of one image and split as one, if the table has a row for each object: then some rows differ in labels."""
    by_image: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        by_image.setdefault((row.name, row.split), []).append(row)
    if all(len({row.labels for row in alike}) == 1 for alike in by_image.values()):
        return rows
    several = [name for (name, _), alike in by_image.items() if len(alike) > 1]
    notes.append(f"{table}: {len(several)} images have several rows, whose labels are joined: {name_some(several)}")
    return [
        replace(alike[0], labels=tuple(dict.fromkeys(label for row in alike for label in row.labels)))
        for alike in by_image.values()
    ]


def _folder_rows(folder: Path, apart: Sequence[Path], notes: list[str]) -> list[Row]:
    tree = look_through(folder, apart)
    notes += tree.notes(folder)
    check_layout(folder, tree.files)
    splits = split_folders(folder, tree.files)
    rows = []
    for file in tree.files:
        inside = file.relative_to(folder)
        parts = inside.parts[:-1]
        split = splits.get(parts[0]) if parts else None
        if split != "":
            rows.append(Row(str(file), inside.as_posix(), parts[1:2] if split else parts[:1], split))
    if left := len(tree.files) - len(rows):
        names = ", ".join(name for name, split in splits.items() if not split)
        notes.append(f"{folder}: {left} images in {names} are left out; splits are {', '.join(SPLITS)}")
    if splits and "val" not in splits.values():
        notes.append(f"{folder}: no folder val; a share of train is held out instead")
        rows = [replace(row, split=None) for row in rows]
    return rows


def split_folders(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """The outermost folders that are called as splits: name → split, empty for test; none where they are labels."""
    places = {file.relative_to(folder).parts[:-1] for file in files}
    outer = {parts[0] for parts in places if parts}
    found = {name: SPLIT_FOLDERS[name.casefold()] for name in sorted(outer) if name.casefold() in SPLIT_FOLDERS}
    deeper = {parts[0] for parts in places if len(parts) > 1}
    # A class may be called train; then there are other classes beside it.
    return found if len(found) > 1 or (found and outer == set(found) and deeper) else {}


def check_layout(folder: Path, files: Sequence[Path]) -> None:
    """Check that the folders of the images are labels, or splits with labels in them.

    Raises:
        InputError: some are masks, or it is not clear what is a label.
    """
    if problems := masks_among(folder, files):
        raise InputError(problems)
    places = {file.relative_to(folder).parts[:-1] for file in files}
    outer, splits = {parts[0] for parts in places if parts}, split_folders(folder, files)
    deeper = {parts[1] for parts in places if len(parts) > 1}
    if splits:
        if labels := sorted(outer - set(splits)):
            raise InputError(
                f"{folder}: {', '.join(splits)} are called as splits, but {name_some(labels)} beside them is not; "
                "put the folders of labels into those of splits, or give a table"
            )
    elif len({SPLIT_FOLDERS[name.casefold()] for name in deeper if name.casefold() in SPLIT_FOLDERS}) > 1:
        raise InputError(
            f"{folder}: splits are inside the folders of labels; put them around: train/{min(outer)}, val/{min(outer)}"
        )
    elif len(outer) == 1:
        (only,) = outer
        if only.casefold() in SPLIT_FOLDERS:
            raise InputError(f"{folder / only}: called as a split, but has no folders of labels in it; add them")
        if len(deeper) > 1 and all(len(parts) > 1 for parts in places):
            raise InputError(
                f"{folder}: all images are in {only}, inside folders {name_some(sorted(deeper))}; "
                f"if those are the labels, give {folder / only} as the folder of images"
            )


def _file(folder: Path, cell: str) -> str:
    """The name of an image file as a table has it; its suffix may be left out."""
    name = file_name(cell)
    if not name or ids.fault(ids.from_file_name(name)) or (folder / name).is_file():
        return name
    found = (name + suffix for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)))
    return next((full for full in found if (folder / full).is_file()), name)


def _mask(folder: Path, name: str) -> Path | None:
    path = (folder / name).with_suffix(".png")
    return path if path.is_file() else None


def _other_masks(folder: Path, masks: Path, records: Sequence[Record]) -> list[str]:
    """A line where images have no mask but a file that could be one, or where no image has a mask."""
    bare = [record for record in records if record.mask is None and not ids.fault(record.image_id)]
    if not bare:
        return []
    taken = {record.mask for record in records}
    images = {record.image.resolve() for record in records}  # masks may lie among them
    free = [
        file
        for file in sorted(masks.rglob("*"))
        if file.suffix.lower() in MASK_SUFFIXES
        and not file.name.startswith(".")
        and file not in taken
        and file.resolve() not in images
    ]
    by_path = {file.parent.relative_to(masks) / _image_stem(file): file for file in free}
    by_stem = {_image_stem(file): file for file in free}
    stems = Counter(record.image.stem.casefold() for record in records)
    pairs = []
    for record in bare:
        stem = record.image.stem.casefold()
        file = by_path.get(record.image.relative_to(folder).parent / stem)
        file = file or (by_stem.get(stem) if stems[stem] == 1 else None)
        pairs += [] if file is None else [(record, file)]
    if pairs:
        record, file = pairs[0]
        wanted = record.image.relative_to(folder).with_suffix(".png").as_posix()
        have = file.relative_to(masks).as_posix()
        others = name_some([file.relative_to(masks).as_posix() for _, file in pairs[1:]])
        more = f" ({len(pairs)} such masks, also {others})" if others else ""
        return [f"{masks}: mask of {record.image} must be the PNG {wanted}, but is {have}{more}; rename or convert it"]
    if len(bare) < len(records):
        return []
    wanted = bare[0].image.relative_to(folder).with_suffix(".png").as_posix()
    example = f"; there is {name_some([file.name for file in free], 2)}" if free else ""
    return [f"{masks}: no mask found; the mask of {bare[0].image} must be {wanted}{example}"]


def _image_stem(mask: Path) -> str:
    return without_mask_ending(mask.stem).casefold()


def _same_but_for_case(records: Sequence[Record]) -> list[str]:
    """Labels that only case, blanks or the Unicode form tell apart, one line for each group."""
    counts = Counter(label for record in records for label in record.labels)
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault(" ".join(unicodedata.normalize("NFC", label).casefold().split()), []).append(label)
    return [
        f"labels {' and '.join(f'{label!r} ({counts[label]})' for label in group)} differ only in case, "
        "blanks or Unicode form; write them alike"
        for group in alike.values()
        if len(group) > 1
    ]


def hashed_split(image_id: str, val_share: float) -> str:
    """``val`` for about ``val_share`` of all ids, always the same ones."""
    number = int.from_bytes(hashlib.sha256(image_id.encode(errors="surrogatepass")).digest()[:8]) / 2**64
    return "val" if number < val_share else "train"
