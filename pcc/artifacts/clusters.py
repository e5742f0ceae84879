"""clusters.json: a partition of the class names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcc.runtime.files import read_json, write_json


def write_clusters(path: Path, clusters: Sequence[Mapping[str, Any]], **details: Any) -> None:
    """Write clusters ``[{"name": ..., "members": [...]}, ...]`` and details of their origin."""
    write_json(path, {**details, "clusters": [{"name": c["name"], "members": list(c["members"])} for c in clusters]})


def read_clusters(path: Path) -> list[tuple[str, ...]]:
    """The members of each cluster, in file order; empty for provider `none`."""
    return [tuple(cluster["members"]) for cluster in read_json(path)["clusters"]]
