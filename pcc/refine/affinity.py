"""Refinement by feature affinity: names from one network's maps, grouping from another network's features."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def propagate(
    maps: Float[Tensor, "C h w"],
    features: Float[Tensor, "D h w"],
    power: int | float = 8,
    steps: int = 1,
) -> Float[Tensor, "C h w"]:
    """Replace every cell by a weighted mean of all cells; weights are ``relu(cosine of features) ** power``.

    The weights of a mean sum to 1, so a constant map stays as it is.

    Args:
        maps: localization maps on the features' grid.
        features: tokens of a frozen backbone.
        power: sharpens the weights; the larger, the fewer cells a mean is over.
        steps: how often the mean is taken.
    """
    cells = F.normalize(features.flatten(1), dim=0)
    weights = F.relu(cells.T @ cells) ** power
    # A cell always counts itself, also where its feature is zero.
    weights = weights.fill_diagonal_(1)
    weights = weights / weights.sum(dim=1, keepdim=True)
    values = maps.flatten(1)
    for _ in range(steps):
        values = values @ weights.T
    return values.reshape(maps.shape)
