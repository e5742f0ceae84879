"""Tables of labels as people have them: the usual encodings and delimiters, and labels written in several ways."""

import ast
import codecs
import csv
import io
import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pcc.data.tables import unguarded
from pcc.runtime.errors import InputError, name_some

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LINES_TRIED = 50  # to find out the delimiter
EXCEL_DELIMITER = re.compile(r'"?sep=(.)"?[^\S\r\n]*(\r\n|\r|\n)', re.IGNORECASE)
ZIP = b"PK\x03\x04"  # begins a spreadsheet's file
# What pandas, R, Excel and databases write for an empty cell.
MISSING = ("nan", "none", "null", "na", "n/a", "#n/a", "<na>")
YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false", "")
QUOTED = r"'(?:[^'\\\r\n]|\\.)*'|\"(?:[^\"\\\r\n]|\\.)*\""
LIST = re.compile(rf"[\[({{]\s*(?:(?:{QUOTED})[\s,]*)*[\])}}]")  # of Python, NumPy (without commas) or JSON
Row = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class LabelTable:
    """A table's columns and rows; `problems` are the rows left out, one line each."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    def need(self, columns: Collection[str]) -> None:
        """Check that columns are there.

        Raises:
            InputError: some are not.
        """
        if missing := [name for name in columns if name not in self.columns]:
            flags = self.flag_columns(columns)
            advice = f"; {name_some(flags)} hold 0 and 1: set tags_column to a list of them" if len(flags) > 1 else ""
            raise InputError(
                f"{self.path} line 1: column {', '.join(missing)} is missing; "
                f"the columns are {', '.join(self.columns) or 'none'}{advice}"
            )

    def flag_columns(self, without: Collection[str] = ()) -> list[str]:
        """Columns, one for each class, that hold nothing but 0 and 1 (or false and true)."""
        return [
            name
            for name in self.columns
            if name and name not in without and is_flags([row[name] for _, row in self.rows])
        ]


def is_flags(cells: Sequence[str]) -> bool:
    """Whether cells say yes and no, rather than names."""
    values = {cell.strip().casefold() for cell in cells}
    return bool(values & set(YES)) and values <= {*YES, *NO}


def read_label_table(path: Path, columns: Collection[str] = ()) -> LabelTable:
    """Read a table with a header.

    Cells are separated by the sign that fits most rows: comma, semicolon, tab or bar. Empty rows, and empty cells at
    the end of all rows, do not count.

    Args:
        path: UTF-8 text, or UTF-16 with a byte-order mark.
        columns: columns that must be there.

    Raises:
        InputError: missing or unreadable file, a repeated column or a missing one.
    """
    text, skipped = _text(path), 0
    if stated := EXCEL_DELIMITER.match(text):
        text, skipped = text[stated.end() :], 1
    sign = stated[1] if stated else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True, skipinitialspace=True)
    header: list[str] = []
    rows: list[Row] = []
    problems: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num + skipped
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(path, line, cells)
                continue
            while len(cells) > len(header) and not cells[-1].strip():
                cells.pop()
            if len(cells) != len(header):
                quote = f"quote cells that contain a {DELIMITERS.get(sign, sign)}"
                problems.append(f"{path} line {line}: row does not have {len(header)} cells; {quote}")
            else:
                rows.append((line, dict(zip(header, map(unguarded, cells), strict=True))))
    except csv.Error as error:
        line = reader.line_num + skipped
        raise InputError(f"{path} line {line}: not a CSV table ({error}); check the quotes, or save it anew") from error
    table = LabelTable(path, tuple(header), tuple(rows), tuple(problems))
    table.need(columns)
    return table


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: file is missing; check the path")
    content = path.read_bytes()
    if content.startswith(ZIP):
        raise InputError(f"{path}: not a CSV table but a spreadsheet or zip file; export it as CSV")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} in line {line} is none" if not wide else "damaged UTF-16"
        raise InputError(f"{path}: not a UTF-8 CSV table ({found}); save it as one, in Excel as 'CSV UTF-8'") from error
    if "\0" in text:
        raise InputError(
            f"{path}: not a UTF-8 CSV table (it holds zero bytes); save it as one, in Excel as 'CSV UTF-8'"
        )
    return text


def _delimiter(text: str) -> str:
    """The sign that splits most of the first rows as it splits the header into more than one cell."""
    lines = [line for line in text.splitlines() if line.strip()][:LINES_TRIED]

    def fitting(sign: str) -> int:
        try:
            counts = [len(cells) for cells in csv.reader(lines, delimiter=sign, skipinitialspace=True)]
        except csv.Error:
            return 0
        return counts.count(counts[0]) if counts and counts[0] > 1 else 0

    return max(DELIMITERS, key=fitting)


def _header(path: Path, line: int, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise InputError(f"{path} line {line}: column {', '.join(repeated)} is there twice; rename or remove one")
    return names


def file_name(cell: str) -> str:
    r"""A file name as a path inside the image folder: ``.\cats\1.jpg`` → ``cats/1.jpg``."""
    name = cell.strip().replace("\\", "/")
    return PurePosixPath(name).as_posix() if name else ""


def split_tags(cell: str, separator: str, classes: Collection[str] = ()) -> tuple[str, ...]:
    """The labels of one cell, each once.

    Args:
        cell: names between separators, or a list as Python, NumPy or JSON writes it.
        separator: between two names.
        classes: the names that are known, if they are; others that mean "missing" (nan, None) are left out.

    Raises:
        InputError: a list that cannot be read.
    """
    listed = _listed(cell.strip())
    names = [name.strip() for name in (cell.split(separator) if listed is None else listed)]
    return tuple(dict.fromkeys(n for n in names if n and (n in classes or n.casefold() not in MISSING)))


def _listed(cell: str) -> list[str] | None:
    """The items of a list, or None where the cell is none."""
    if LIST.fullmatch(cell):
        with suppress(json.JSONDecodeError):
            return [str(item) for item in json.loads(cell)]
        with suppress(ValueError, SyntaxError):  # of an escape that is none
            return [str(ast.literal_eval(item)) for item in re.findall(QUOTED, cell)]
    if not cell.startswith(("[", "{", "('", '("')):
        return None
    inside = cell[1:-1]
    if not (cell.startswith("[") and cell.endswith("]")) or re.search(r"[\[\]{}'\"]", inside):
        raise InputError(f"{cell!r} is not a list that can be read; write names with a separator, such as cat;dog")
    return inside.split(",")


def is_list(cell: str) -> bool:
    """Whether a cell holds a list with brackets, in which separators are not looked for."""
    return cell.strip().startswith("[") or bool(LIST.fullmatch(cell.strip()))
