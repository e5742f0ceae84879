"""CSV tables with line numbers, so that a message can name the row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcc.runtime.errors import InputError


def read_table(
    path: Path, columns: Sequence[str] = (), problems: list[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield ``(line, row)`` from a CSV with a header; the first row under the header is line 2.

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
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV table ({error}); save it as one") from error
