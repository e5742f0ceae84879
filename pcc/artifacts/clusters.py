"""A partition of the class names on disk: clusters.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcc.runtime.files import read_json, write_json


def write_clusters(path: Path, clusters: Sequence[Mapping[str, Any]], **details: Any) -> None:
    """Write a partition of the class names: ``[{"name": ..., "members": [...]}, ...]`` and how it was made."""
    write_json(
        path, {**details, "clusters": [{"name": c["name"], "members": list(c["members"])} for c in clusters]}
    )


def read_clusters(path: Path) -> list[tuple[str, ...]]:
    """The members of each cluster, in file order; an empty list means `none`."""
    return [tuple(cluster["members"]) for cluster in read_json(path)["clusters"]]
