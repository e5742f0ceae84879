"""Where image-level labels come from: XML annotations, masks, a table, or the field's ``cls_labels.npy``.

A source reads an entry when it is asked for: one bad entry is one problem and does not hide the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from pcc.artifacts.masks import mask_value_fault, read_mask
from pcc.data.classes import unknown_class
from pcc.data.tables import read_table
from pcc.ids import IGNORE
from pcc.readers.label_arrays import read_label_arrays
from pcc.runtime.errors import InputError
from pcc.runtime.settings import File, Separator, Text


@dataclass(frozen=True)
class Labels:
    """The block ``labels`` of a reader; each source takes its own part of it.

    Attributes:
        source: ``xml`` (annotations), ``masks``, ``csv`` or ``npy``.
        path: file or folder of the labels; by default those of the data set; required for ``csv`` and ``npy``.
        column: ``csv``: column of class names; by default the only one beside ``image_id``.
        separator: ``csv``: separator of class names in a cell.
    """

    source: Literal["xml", "masks", "csv", "npy"]
    path: File | None = None
    column: Text | None = None
    separator: Separator = ";"


class LabelSource(ABC):
    """Image id → class names."""

    @abstractmethod
    def ids(self) -> list[str]:
        """The images it has an entry for."""

    @abstractmethod
    def labels(self, image_id: str) -> tuple[str, ...] | None:
        """An image's class names in the order of the class list; None where there is no entry for it.

        Raises:
            InputError: the entry cannot be used.
        """


def from_xml(path: Path, classes: Sequence[str]) -> LabelSource:
    """Labels from VOC annotations ``{image_id}.xml``: every object counts, difficult ones too."""
    return FileLabels(path, ".xml", lambda file: _known(_object_names(file), classes, str(file)))


def from_masks(path: Path, classes: Sequence[str]) -> LabelSource:
    """Labels from masks ``{image_id}.png``: the classes with at least one pixel."""
    return FileLabels(path, ".png", lambda file: _mask_names(file, classes))


def from_csv(path: Path, classes: Sequence[str], column: Text | None = None, separator: Separator = ";") -> LabelSource:
    """Labels from a table with a column ``image_id`` and a column of class names.

    Args:
        path: the table.
        classes: the names that are allowed.
        column: the column of names; may be left out where there is just one beside ``image_id``.
        separator: what stands between two names in a cell.

    Raises:
        InputError: no such table or column.
    """
    return TableLabels(path, classes, column, separator)


def from_npy(path: Path, classes: Sequence[str]) -> LabelSource:
    """Labels from a pickled ``{image_id: vector[K]}``, its entries in the order of ``classes``.

    Raises:
        InputError: not such a file, or a file that wants to do more than hold arrays.
    """
    return ArrayLabels(path, read_label_arrays(path), classes)


SOURCES: dict[str, Callable[..., LabelSource]] = {
    "xml": from_xml,
    "masks": from_masks,
    "csv": from_csv,
    "npy": from_npy,
}


class FileLabels(LabelSource):
    """One file per image in one folder."""

    def __init__(self, folder: Path, suffix: str, parse: Callable[[Path], tuple[str, ...]]) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: folder of labels is missing; check the path or choose another label source")
        self.folder, self.suffix, self.parse = folder, suffix, parse

    def labels(self, image_id: str) -> tuple[str, ...] | None:
        """An image's class names; None where there is no entry for it."""
        path = self.folder / f"{image_id}{self.suffix}"
        return self.parse(path) if path.is_file() else None

    def ids(self) -> list[str]:
        """The names of the folder's files."""
        return sorted(path.stem for path in self.folder.glob(f"*{self.suffix}"))


class TableLabels(LabelSource):
    """One row per image in one table."""

    def __init__(self, path: Path, classes: Sequence[str], column: str | None, separator: str) -> None:
        if not separator:
            raise InputError(f"{path}: the separator of class names is empty; set 'separator', such as ';'")
        self.path, self.classes = path, classes
        self.rows: dict[str, list[tuple[int, list[str]]]] = {}
        for line, row in read_table(path, ["image_id", *([column] if column else [])]):
            names = row[column or _only_column(path, row)].split(separator)
            self.rows.setdefault(row["image_id"].strip(), []).append((line, [n.strip() for n in names if n.strip()]))

    def labels(self, image_id: str) -> tuple[str, ...] | None:
        """An image's class names; None where there is no entry for it."""
        if image_id not in self.rows:
            return None
        (line, names), *others = self.rows[image_id]
        if others:
            raise InputError(
                f"{self.path} line {others[0][0]}: image id {image_id} is there twice, first at line {line}; keep one"
            )
        return _known(names, self.classes, f"{self.path} line {line}")

    def ids(self) -> list[str]:
        """The table's ids, in its order."""
        return list(self.rows)


class ArrayLabels(LabelSource):
    """One multi-hot vector per image."""

    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
        self.path, self.arrays, self.classes = path, arrays, classes

    def labels(self, image_id: str) -> tuple[str, ...] | None:
        """An image's class names; None where there is no entry for it."""
        if image_id not in self.arrays:
            return None
        vector = self.arrays[image_id]
        if vector.shape != (len(self.classes),) or not np.isin(vector, (0, 1)).all():
            raise InputError(
                f"{self.path}: entry {image_id} is not a vector of {len(self.classes)} zeros and ones; "
                "check that the file belongs to this class list"
            )
        return tuple(name for name, present in zip(self.classes, vector, strict=True) if present)

    def ids(self) -> list[str]:
        """The dictionary's keys, in its order."""
        return list(self.arrays)


def _known(names: Sequence[str], classes: Sequence[str], where: str) -> tuple[str, ...]:
    """The names, each once, in the order of the class list."""
    if unknown := [name for name in dict.fromkeys(names) if name not in classes]:
        raise InputError([unknown_class(name, classes, where) for name in unknown])
    return tuple(name for name in classes if name in names)


class _Annotation(ElementTree.TreeBuilder):
    """Without a document type, which an annotation does not need: its entities can grow without end."""

    def doctype(self, *_: Any) -> None:
        raise ValueError("it declares a document type")


def _object_names(path: Path) -> list[str]:
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Annotation())).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two for encodings
        raise InputError(f"{path}: not an XML annotation ({error}); restore it, or save it as UTF-8") from error
    if root.tag != "annotation":
        raise InputError(f"{path}: not an XML annotation (it is a <{root.tag:.60}>); restore it")
    # Parts (head, hand, foot) are named inside their object, so they are not looked at.
    names = [" ".join((one.findtext("name") or "").split()) for one in root.findall("object")]
    if "" in names:
        raise InputError(f"{path}: object {names.index('') + 1} has no name; name its class, or remove it")
    return names


def _mask_names(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    present = set(np.unique(read_mask(path)).tolist()) - {0, IGNORE}
    if fault := mask_value_fault(present, len(classes)):
        raise InputError(f"{path}: {fault}")
    return tuple(classes[class_id - 1] for class_id in sorted(present))


def _only_column(path: Path, row: Mapping[str, str]) -> str:
    others = [name for name in row if name != "image_id"]
    if len(others) != 1:
        raise InputError(
            f"{path} line 1: the column of class names is one of {', '.join(others) or 'none'}; "
            "name it in the setting 'column'"
        )
    return others[0]
