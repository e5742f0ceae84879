"""Pooling of patch scores into image scores (Wu et al. 2024; top-k pooling, arXiv 2310.09828)."""

from jaxtyping import Float
from torch import Tensor

from pcc.runtime.errors import InputError


def resolve_k(k: int | float, n: int) -> int:
    """The number of patches meant by ``k``.

    Args:
        k: a count (int, 1..n), or a share of the patches (float, 0 < k < 1; rounded, at least one patch).
        n: number of patches.

    Raises:
        InputError: ``k`` is neither, or exceeds ``n``.
    """
    if isinstance(k, float) and 0 < k < 1:
        return max(1, round(k * n))
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"top-k pooling: k is {k!r}; give a count (1, 2, ...) or a share between 0 and 1")
    if k > n:
        raise InputError(f"top-k pooling: k is {k} but images have {n} patches; lower k or enlarge them")
    return k


def top_k_pool(probabilities: Float[Tensor, "B N C"], k: int | float) -> Float[Tensor, "B C"]:
    """Mean of each class's ``k`` largest patch probabilities: 1 is max pooling, N is mean pooling.

    Args:
        probabilities: one distribution over C classes per patch.
        k: see `resolve_k`.

    Raises:
        InputError: an unusable ``k``.
    """
    return probabilities.topk(resolve_k(k, probabilities.shape[1]), dim=1, sorted=False).values.mean(dim=1)
