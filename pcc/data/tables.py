"""CSV tables: written so that no spreadsheet takes a name for a formula, read with line numbers for messages."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pcc.runtime.errors import InputError

FORMULA = (*"=+-@＝＋－＠", "\t", "\r", "\n")  # what spreadsheets run, and what they drop before they look
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    """A cell as it is written: a text that a spreadsheet would run begins with an apostrophe; `unguarded` removes it.

    Examples:
        >>> [guarded(cell) for cell in ("=1+1", "-x", "'=", "-1.5", "cat", "'s", -1)]
        ["'=1+1", "'-x", "''=", '-1.5', 'cat', "'s", -1]
    """
    text = value.lstrip("'") if isinstance(value, str) else ""
    return f"'{value}" if text.startswith(FORMULA) and not NUMBER.fullmatch(value) else value


def unguarded(cell: str) -> str:
    """A cell as it was before `guarded`."""
    return cell[1:] if cell.startswith("'") and guarded(cell[1:]) == cell else cell


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table with a header as CSV, every cell `guarded`."""
    table = io.StringIO()
    minimal, whole = (csv.writer(table, lineterminator="\n", quoting=q) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    minimal.writerow(columns)
    for row in rows:
        # Python quotes a line feed by itself, but not a carriage return, which ends a row as well.
        writer = whole if any(isinstance(cell, str) and "\r" in cell for cell in row) else minimal
        writer.writerow([guarded(cell) for cell in row])
    return table.getvalue()


def read_table(
    path: Path, columns: Sequence[str] = (), problems: list[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield ``(line, row)`` from a CSV with a header; the first row under the header is line 2.

    Cells are `unguarded`.

    Args:
        path: UTF-8 text, with or without a byte-order mark.
        columns: columns that must be there.
        problems: where given, bad rows are noted here and passed over instead of raising.

    Raises:
        InputError: missing or unreadable file, missing columns, or a row with too many or too few cells.
    """
    if not path.is_file():
        raise InputError(f"{path}: file is missing; check the path")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            if missing := [name for name in columns if name not in header]:
                raise InputError(
                    f"{path} line 1: column {', '.join(missing)} is missing; "
                    f"the columns are {', '.join(header) or 'none'}"
                )
            for row in reader:
                if None in row or None in row.values():
                    fault = (
                        f"{path} line {reader.line_num}: row does not have {len(header)} cells; "
                        "quote cells that contain a comma"
                    )
                    if problems is None:
                        raise InputError(fault)
                    problems.append(fault)
                else:
                    yield reader.line_num, {name: unguarded(cell) for name, cell in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV table ({error}); save it as one") from error
