"""No clusters at all: the control that has no cluster parameters."""

from pcc.clusters.providers import Proposal, Task


def propose(task: Task) -> Proposal:  # noqa: ARG001 - every provider has it
    """Propose nothing."""
    return Proposal({})
