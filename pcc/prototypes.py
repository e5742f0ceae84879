"""Structure-aware seeds, image-specific prototypes and their CAMs (Chen et al., CVPR 2022, SIPE section 3.2).

To bring image-specific CAMs to a peak of 1 as the paper does, pass them to `pcc.maps.normalize_cams`.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
COSINE_EPSILON = 1e-8


@torch.no_grad()
def structure_seeds(
    query: Float[Tensor, "B D h w"],
    maps: Float[Tensor, "B C h w"],
    valid: Shaped[Tensor, "B C h w"],
    background_discount: int | float = 0.5,
) -> Float[Tensor, "B C h w"]:
    """Give every cell to the class whose map overlaps most with what looks like that cell.

    The structure map of a cell is its rectified cosine similarity to all cells. Its soft IoU with a class map
    is ``I / (sum S + sum A - I)``, ``I = A S``; the N x N x C products behind ``I`` are never materialised.

    Args:
        query: features to compare cells by.
        maps: class maps in [0, 1], channel 0 background.
        valid: 1 where a class may be seeded (image labels, padding); it is applied after the arg-max, so a
            cell won by a forbidden class seeds nothing.
        background_discount: factor on the background's IoU.

    Returns:
        One-hot seeds times ``valid``, without gradient.
    """
    cells = query.flatten(2)
    unit = cells / (cells.norm(dim=1, keepdim=True) + EPSILON)
    structure = F.relu(unit.transpose(1, 2) @ unit)
    areas = maps.flatten(2)
    intersection = areas @ structure
    union = structure.sum(dim=1)[:, None] + areas.sum(dim=2, keepdim=True) - intersection
    # The reference has no epsilon here and gives NaN where a zero feature meets an empty class.
    overlap = intersection / (union + EPSILON)
    overlap[:, 0] *= background_discount
    winners = overlap.argmax(dim=1)
    seeds = F.one_hot(winners, maps.shape[1]).transpose(1, 2).reshape(maps.shape)
    return seeds.to(maps.dtype) * valid


def prototypes(features: Float[Tensor, "B D h w"], seeds: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C D"]:
    """``P_c = mean over all cells of seed * feature``; a class without seeds gets the zero vector."""
    cells = features.flatten(2)
    return seeds.flatten(2) @ cells.transpose(1, 2) / cells.shape[2]


def image_specific_cams(
    features: Float[Tensor, "B D h w"], prototypes: Float[Tensor, "B C D"]
) -> Float[Tensor, "B C h w"]:
    """Rectified cosine of every cell to every prototype, un-normalised; a zero prototype gives a zero map."""
    cells = F.normalize(features.flatten(2), dim=1, eps=COSINE_EPSILON)
    cosine = F.normalize(prototypes, dim=2, eps=COSINE_EPSILON) @ cells
    return F.relu(cosine).unflatten(2, features.shape[2:])
