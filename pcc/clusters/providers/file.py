"""A partition the user wrote: YAML or JSON."""

from pathlib import Path
from typing import Any

import yaml

from pcc.clusters.providers import Proposal, Task
from pcc.runtime.errors import InputError
from pcc.runtime.settings import File


def propose(task: Task, *, path: File) -> Proposal:  # noqa: ARG001 - every provider has it
    """Read ``{cluster: [names]}``, ``[[names], ...]``, or a clusters.json as this stage writes it.

    Args:
        task: the names to partition.
        path: the file; JSON is read as the YAML it is.

    Raises:
        InputError: the file is missing or holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: file of clusters is missing; check the path")
    try:
        stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: neither YAML nor JSON ({reason}); correct it") from error
    groups = stored.get("clusters", stored) if isinstance(stored, dict) else stored
    if isinstance(groups, list):
        groups = {_name(group, number): _members(group) for number, group in enumerate(groups, 1)}
    if not isinstance(groups, dict) or not groups or not all(isinstance(g, list) for g in groups.values()):
        raise InputError(f"{file}: no clusters; write 'cluster name: [class, class]' for each")
    return Proposal({str(name): [str(member) for member in group] for name, group in groups.items()})


def _name(group: Any, number: int) -> str:
    return str(group.get("name", number)) if isinstance(group, dict) else str(number)


def _members(group: Any) -> Any:
    return group.get("members") if isinstance(group, dict) else group
