"""The control that tells semantics from extra parameters: the taxonomy's sizes, members drawn at random."""

import numpy as np

from pcc.clusters.providers import Proposal, Task, taxonomy
from pcc.runtime.settings import Seed


def propose(task: Task, *, seed: Seed = 0) -> Proposal:
    """Shuffle the names over clusters as large as the taxonomy's; the same seed gives the same clusters.

    Args:
        task: the names to partition.
        seed: seed of the shuffle.

    Raises:
        InputError: the data set has no taxonomy to take the sizes from.
    """
    sizes = [len(group) for group in taxonomy.propose(task).clusters.values()]
    shuffled = np.random.default_rng(seed).permutation(sorted(task.names)).tolist()
    ends = np.cumsum(sizes).tolist()
    return Proposal(
        {
            f"random {number}": shuffled[end - size : end]
            for number, (size, end) in enumerate(zip(sizes, ends, strict=True), 1)
        }
    )
