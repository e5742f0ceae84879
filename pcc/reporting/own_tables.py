"""CSV files that stages write, read back with their columns checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pcc.data.tables import unguarded
from pcc.runtime.errors import InputError

LOSSES = {"phase": str, "epoch": float, "step": float, "lr": float, "loss": float}
NOUNS = {"class": str, "rank": int, "noun": str, "cosine": float}
QUALITY = {"image_id": str, "class_id": int, "confidence": float}


def read_own(path: Path, columns: Mapping[str, type], made_by: str) -> pd.DataFrame:
    """Read a table that has these columns, and perhaps more.

    Args:
        path: CSV.
        columns: type by name.
        made_by: the command that writes such a table.

    Raises:
        InputError: not such a table.
    """
    try:
        types: dict[str, Any] = dict(columns)
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
        if missing := [name for name in columns if name not in table]:
            raise ValueError(f"no column {', '.join(missing)}")
    except ValueError as error:
        raise InputError(f"{path}: not what `{made_by}` writes ({error}); delete it and run that again") from error
    texts = [name for name, kind in columns.items() if kind is str]
    return table.assign(**{name: table[name].map(unguarded, na_action="ignore") for name in texts})
