"""The data set's own published grouping: needs no network, and is the default."""

from pcc.clusters.providers import Proposal, Task
from pcc.runtime.errors import InputError


def propose(task: Task) -> Proposal:
    """Take the taxonomy of dataset.json.

    Raises:
        InputError: the data set has none.
    """
    if not task.taxonomy:
        raise InputError("clusters: the data set has no taxonomy; give it one, or choose another provider (file, none)")
    return Proposal(task.taxonomy)
