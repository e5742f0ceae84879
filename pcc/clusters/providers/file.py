"""A partition that the user wrote, or several to be merged: YAML or JSON."""

from pathlib import Path
from typing import Any

import yaml

from pcc.clusters.partition import consensus, named, validate
from pcc.clusters.providers import Proposal, Task
from pcc.runtime.errors import InputError
from pcc.runtime.settings import File


def propose(task: Task, *, path: File) -> Proposal:
    """Read ``{cluster: [names]}``, ``[[names], ...]``, or a clusters.json as this stage writes it.

    Without ``clusters``, a list ``samples`` of such partitions gives their consensus.

    Args:
        task: the names to partition.
        path: the file; JSON is read as the YAML it is.

    Raises:
        InputError: the file is missing or holds something else, or samples are no exact partitions of ``names``.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: file of clusters is missing; check the path")
    try:
        stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: neither YAML nor JSON ({reason}); correct it") from error
    if isinstance(stored, dict) and isinstance(stored.get("samples"), list) and "clusters" not in stored:
        samples = [_groups(sample, f"{file}: sample {number}") for number, sample in enumerate(stored["samples"], 1)]
        for sample in samples:
            validate(sample, task.names)
        found = consensus(samples)
        details = {"agreement": found.agreement, "samples": [{"clusters": sample} for sample in samples]}
        return Proposal(named(found, samples), details)
    return Proposal(_groups(stored, str(file)))


def _groups(stored: Any, where: str) -> dict[str, list[str]]:
    groups = stored.get("clusters", stored) if isinstance(stored, dict) else stored
    if isinstance(groups, list):
        groups = {_name(group, number): _members(group) for number, group in enumerate(groups, 1)}
    if not isinstance(groups, dict) or not groups or not all(isinstance(g, list) for g in groups.values()):
        raise InputError(f"{where}: no clusters; write 'cluster name: [class, class]' for each")
    return {str(name): [str(member) for member in group] for name, group in groups.items()}


def _name(group: Any, number: int) -> str:
    return str(group.get("name", number)) if isinstance(group, dict) else str(number)


def _members(group: Any) -> Any:
    return group.get("members") if isinstance(group, dict) else group
