"""The state of a data set's own files, so that a change of an image makes `prepare` run again."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any


def state_of_files(dataset: Mapping[str, Any]) -> str:
    """A digest of the names, sizes and times of all files in the folders that a data set's settings name.

    Empty where they name no folder, or with ``watch: false``.

    Args:
        dataset: block of the configuration.
    """
    settings = dataset.get("settings", {}).values()
    folders = sorted(value for value in settings if isinstance(value, str) and Path(value).is_dir())
    return _state(tuple(folders)) if folders and dataset.get("watch", True) else ""


@cache
def _state(folders: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for folder in folders:
        for line in _files(folder, set()):
            total.update(line.encode(errors="surrogateescape"))
    return total.hexdigest()[:16]


def _files(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """One line for each visible file below a folder; links are followed, but no folder is entered twice."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        try:
            found = entry.stat()
            if not entry.is_dir():
                yield f"{entry.path}\0{found.st_size}\0{found.st_mtime_ns}\n"
            elif (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield from _files(entry.path, seen)
        except OSError:  # a broken link, or a folder that may not be read: for the reader to report
            continue
