"""Propagation of localization maps by feature affinity."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def propagate(
    maps: Float[Tensor, "C h w"], features: Float[Tensor, "D h w"], power: int | float = 8, steps: int = 1
) -> Float[Tensor, "C h w"]:
    """Replace each cell by a weighted mean over all cells; weights are ``relu(cosine similarity) ** power``.

    Weights sum to 1, so constant maps are unchanged.

    Args:
        maps: localization maps on the grid of the features.
        features: features of a frozen backbone.
        power: exponent of the weights; higher is more selective.
        steps: number of propagation steps.
    """
    cells = F.normalize(features.flatten(1), dim=0)
    weights = F.relu(cells.T @ cells) ** power
    # Zero features would otherwise have no weight at all.
    weights = weights.fill_diagonal_(1)
    weights = weights / weights.sum(dim=1, keepdim=True)
    values = maps.flatten(1)
    for _ in range(steps):
        values = values @ weights.T
    return values.reshape(maps.shape)
