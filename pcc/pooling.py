"""Pool patch probabilities into image-level predictions (Wu et al. 2024; top-k pooling, arXiv 2310.09828)."""

from jaxtyping import Float
from torch import Tensor

from pcc.runtime.errors import InputError


def resolve_k(k: int | float, n: int) -> int:
    """Convert ``k`` to a number of patches.

    Args:
        k: count (int, 1..n) or fraction of the patches (float, 0 < k < 1; rounded, at least 1).
        n: number of patches.

    Raises:
        InputError: ``k`` is invalid or exceeds ``n``.
    """
    if isinstance(k, float) and 0 < k < 1:
        return max(1, round(k * n))
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"top-k pooling: k is {k!r}; it must be a count (1, 2, ...) or a fraction between 0 and 1")
    if k > n:
        raise InputError(f"top-k pooling: k is {k} but images have {n} patches; lower k or use larger images")
    return k


def top_k_pool(probabilities: Float[Tensor, "B N C"], k: int | float) -> Float[Tensor, "B C"]:
    """Mean of each class's ``k`` largest patch probabilities (PCC section 2).

    Args:
        probabilities: one distribution over C classes per patch.
        k: see `resolve_k`; 1 is max pooling, N is mean pooling.

    Raises:
        InputError: ``k`` is invalid.

    Examples:
        >>> top_k_pool(torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]]), k=2).tolist()
        [[0.75, 0.75]]
    """
    return probabilities.topk(resolve_k(k, probabilities.shape[1]), dim=1, sorted=False).values.mean(dim=1)
