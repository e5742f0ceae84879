"""Who proposes a partition of the class names: one module each, found by its name.

A provider is a module with ``propose(task: Task, **settings) -> Proposal``. A new one is a new file here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """What a provider is asked.

    Attributes:
        names: the foreground class names.
        taxonomy: the data set's own grouping, where it has one.
        folder: where clusters.json will be written; a provider may leave a record of its work there.
        replay: the record of an earlier run to repeat, for providers that keep one.
    """

    names: tuple[str, ...]
    taxonomy: Mapping[str, Sequence[str]] | None
    folder: Path
    replay: Path | None = None


@dataclass(frozen=True)
class Proposal:
    """What a provider answers.

    Attributes:
        clusters: cluster name → members; empty for no clusters at all.
        details: what else is worth keeping in clusters.json, such as ``agreement``.
    """

    clusters: Mapping[str, Sequence[str]]
    details: Mapping[str, Any] = field(default_factory=dict)
