"""All classes in one cluster: the control that tells semantics from sharing as such."""

from pcc.clusters.providers import Proposal, Task


def propose(task: Task) -> Proposal:
    """Propose a single cluster."""
    return Proposal({"all": task.names})
