"""clusters.json: a partition of the class names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcc.runtime.files import read_as, write_json


@dataclass(frozen=True)
class Cluster:
    """A cluster of class names."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One partition of several that were asked for: members by cluster."""

    clusters: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Stored:
    """What is read of a clusters.json."""

    clusters: tuple[Cluster, ...]
    provider: str = "hand"
    samples: tuple[Sample, ...] = ()
    agreement: float | None = None


def write_clusters(path: Path, clusters: Sequence[Mapping[str, Any]], **details: Any) -> None:
    """Write clusters ``[{"name": ..., "members": [...]}, ...]`` and details of their origin."""
    write_json(path, {**details, "clusters": [{"name": c["name"], "members": list(c["members"])} for c in clusters]})


def read_clusters(path: Path) -> list[tuple[str, ...]]:
    """The members of each cluster, in file order; empty for provider `none`."""
    return [cluster.members for cluster in read_stored(path).clusters]


def read_stored(path: Path) -> Stored:
    """Clusters, and where they come from.

    Raises:
        InputError: not a clusters.json.
    """
    return read_as(path, Stored, "pcc clusters")
