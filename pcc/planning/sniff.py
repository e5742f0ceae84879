"""Find the images of an unknown folder, and the table or folders that hold their labels.

What is found is put as settings of `pcc.readers.folder.read`, which then reads the data as it will in the workflow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcc.data.images import SUFFIXES
from pcc.data.manifest import SPLITS
from pcc.readers.folder import check_layout, split_folders
from pcc.readers.image_tree import look_through
from pcc.readers.label_table import LabelTable, file_name, is_list, read_label_table, split_tags
from pcc.runtime.errors import InputError

MASKS = "masks"  # a folder of this name holds masks, not images
TAG_NAMES = ("tags", "tag", "labels", "label", "classes", "class", "categories", "category", "objects", "names")
SEPARATORS = (";", "|", ",", " ")  # in the order of preference


@dataclass(frozen=True)
class Found:
    """How a folder's images and labels are laid out.

    Attributes:
        settings: of the folder reader.
        summary: the same in words, for the user to check.
        files: all image files, with or without labels.
        notes: what was passed over; empty where the reader says it.
    """

    settings: dict[str, Any]
    summary: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column that names image files.

    Attributes:
        images: the folder that the names start from.
        name: of the column.
        matches: how many of its cells name a file.
    """

    images: Path
    name: str
    matches: int


def look(
    folder: Path,
    *,
    tags: Path | None = None,
    masks: Path | None = None,
    image_column: str | None = None,
    tags_column: str | None = None,
) -> Found:
    """Find images, labels and masks.

    Args:
        folder: of images, or of folders of images.
        tags: CSV with a row for each image; None: the one CSV in ``folder``, or else the images' folders.
        masks: folder of masks; None: ``masks`` in ``folder``, where files in it are called as images are.
        image_column: column of the file names; None: the one whose cells name most files.
        tags_column: column of the tags; None: by its name, or the only one left.

    Raises:
        InputError: a folder, image, table or column that is missing, or several of which one must be chosen.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: folder of images is missing; check the path")
    if masks is not None and not masks.is_dir():
        raise InputError(f"{masks}: folder of masks is missing; check the path")
    masks = masks or _own_masks(folder)
    tree = look_through(folder, [masks] if masks else [])
    files, notes = tree.files, tree.notes(folder)
    if not files:
        raise InputError([f"{folder}: no image found; put images there ({', '.join(SUFFIXES)})", *notes])
    table = _only_table(folder) if tags is None else tags
    if table is None:
        settings, summary = _by_folders(folder, files)
        notes = []
    else:
        settings, summary = _by_table(folder, files, table, image_column, tags_column)
    if masks is not None:
        settings["masks"] = masks.as_posix()
    return Found(settings, summary, tuple(files), tuple(notes))


def _own_masks(folder: Path) -> Path | None:
    """The folder of masks, known by its name and by files that are called as the images are."""
    place = folder / MASKS
    names = {file.stem for file in place.rglob("*.png")}
    if not names:
        return None
    return place if names & {file.stem for file in look_through(folder, [place]).files} else None


def _only_table(folder: Path) -> Path | None:
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv") and not p.name.startswith("."))
    if len(tables) > 1:
        raise InputError(
            f"{folder}: several tables, {', '.join(t.name for t in tables)}; name the one of tags with --tags"
        )
    return tables[0] if tables else None


def _by_folders(folder: Path, files: Sequence[Path]) -> tuple[dict[str, Any], str]:
    if all(file.parent == folder for file in files):
        raise InputError(
            f"{folder}: images, but no tags; put a CSV with columns image and tags there, name one with --tags, "
            "or put the images into one folder per label"
        )
    check_layout(folder, files)
    splits = split_folders(folder, files)
    around = f", inside the splits {', '.join(splits)}" if splits else ""
    return {"images": folder.as_posix()}, f"the folder of an image in {folder}{around} is its label"


def _by_table(
    folder: Path, files: Sequence[Path], path: Path, image_column: str | None, tags_column: str | None
) -> tuple[dict[str, Any], str]:
    # Invalid rows are the reader's to report.
    table = read_label_table(path, [name for name in (image_column, tags_column) if name is not None])
    rows, columns = [row for _, row in table.rows], list(table.columns)
    if not rows:
        raise InputError([f"{path}: no rows; add one per image, with its file name and its labels", *table.problems])
    if len(columns) == 1:
        raise InputError(
            f"{path} line 1: only one column, '{columns[0]}'; the table needs the file name and the labels, "
            "separated by a comma"
        )
    names = _file_column(folder, files, path, rows, [image_column] if image_column else columns)
    split = next((c for c in columns if c != names.name and {r[c].strip() for r in rows} <= set(SPLITS)), None)
    tags = tags_column or _tags_column(table, [c for c in columns if c not in (names.name, split)])
    settings: dict[str, Any] = {
        "images": names.images.as_posix(),
        "tags": path.as_posix(),
        "image_column": names.name,
        "tags_column": tags,
    }
    summary = f"{path}: images in column '{names.name}', labels in "
    if isinstance(tags, str):
        settings["separator"] = separator_of(row[tags] for row in rows)
        summary += f"'{tags}', separated by '{settings['separator']}'"
    else:
        summary += f"columns {', '.join(tags)} of 0 and 1"
    if split:
        settings["split_column"] = split
    return settings, summary + (f", split in '{split}'" if split else "")


def _file_column(
    folder: Path, files: Sequence[Path], table: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]
) -> Column:
    """The folder and column that explain most cells; the outermost folder and the first column where several do."""
    below: dict[Path, set[str]] = {folder: set()}
    for file in files:
        for parent in (p for p in file.parents if p == folder or folder in p.parents):
            inside = file.relative_to(parent)
            below.setdefault(parent, set()).update((inside.as_posix(), inside.with_suffix("").as_posix()))
    cells = {column: {file_name(row[column]) for row in rows} for column in columns}
    tried = [
        Column(place, name, len(values & names)) for place, names in below.items() for name, values in cells.items()
    ]
    best = max(tried, key=lambda column: (column.matches, -len(column.images.parts)))
    if best.matches == 0:
        raise InputError(
            f"{table} line 1: column of file names is missing; none of {', '.join(columns)} names an image in "
            f"{folder}, such as {files[0].relative_to(folder).as_posix()}"
        )
    return best


def _tags_column(table: LabelTable, columns: Sequence[str]) -> str | list[str]:
    """The column of labels, by its name or as the only one left; or the columns of 0 and 1, one for each class."""
    columns = [column for column in columns if column]  # pandas leaves its index without a name
    if not columns:
        raise InputError(f"{table.path} line 1: column of labels is missing; add one named labels")
    by_name = {column.casefold(): column for column in reversed(columns)}
    known = [by_name[name] for name in TAG_NAMES if name in by_name]
    flags = [name for name in table.flag_columns() if name in columns]
    if not known and flags and (len(flags) > 1 or len(columns) == 1):
        return flags
    if not known and len(columns) > 1:
        raise InputError(
            f"{table.path} line 1: the column of tags is one of {', '.join(columns)}; name it with --tags-column"
        )
    return known[0] if known else columns[0]


def separator_of(cells: Iterable[str]) -> str:
    """The separator of labels in a cell: the first that occurs in any.

    A blank may be part of a name ("potted plant"): it separates only where its words recur, so that there are no more
    of them than there are different cells.
    """
    distinct = {cell.strip() for cell in cells if cell.strip() and not is_list(cell)}
    for sign in SEPARATORS[:-1]:
        if any(sign in cell for cell in distinct):
            return sign
    words = {word for cell in distinct for word in split_tags(cell, " ")}
    blanks = any(" " in cell for cell in distinct)
    return " " if blanks and len(words) <= len(distinct) else SEPARATORS[0]
