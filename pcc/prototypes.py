"""Structure-aware seeds, image-specific prototypes and their CAMs (Chen et al., CVPR 2022, SIPE section 3.2).

The paper scales image-specific CAMs to a peak of 1; use `pcc.maps.normalize_cams`.
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
    """Assign each cell to the class whose map best matches the cell's structure map (SIPE section 3.2).

    The structure map S of a cell is its rectified cosine similarity to all cells. Its soft IoU with a class
    map A is ``I / (sum S + sum A - I)``, ``I = A S``, computed without the N x N x C products.

    Args:
        query: features compared between cells.
        maps: class maps in [0, 1], channel 0 background.
        valid: 1 where a class may be seeded (image labels, padding). Applied after the argmax: a cell assigned
            to an invalid class seeds nothing.
        background_discount: factor on the background's IoU.

    Returns:
        One-hot seeds times ``valid``, without gradient.

    Examples:
        >>> query = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> maps = torch.tensor([[[[0.9, 0.1]], [[0.1, 0.9]]]])
        >>> structure_seeds(query, maps, torch.ones(1, 2, 1, 2)).tolist()
        [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    cells = query.flatten(2)
    unit = cells / (cells.norm(dim=1, keepdim=True) + EPSILON)
    structure = F.relu(unit.transpose(1, 2) @ unit)
    areas = maps.flatten(2)
    intersection = areas @ structure
    union = structure.sum(dim=1)[:, None] + areas.sum(dim=2, keepdim=True) - intersection
    # The released code has no epsilon here: NaN for a zero feature and an empty class.
    overlap = intersection / (union + EPSILON)
    overlap[:, 0] *= background_discount
    seeds = F.one_hot(overlap.argmax(dim=1), maps.shape[1]).transpose(1, 2).reshape(maps.shape)
    return seeds.to(maps.dtype) * valid


def prototypes(features: Float[Tensor, "B D h w"], seeds: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C D"]:
    """``P_c = mean over all cells of seed * feature``; zero for a class without seeds (SIPE section 3.2).

    Examples:
        >>> prototypes(torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[0.0, 1.0]]]])).tolist()
        [[[2.0]]]
    """
    cells = features.flatten(2)
    return seeds.flatten(2) @ cells.transpose(1, 2) / cells.shape[2]


def image_specific_cams(
    features: Float[Tensor, "B D h w"], prototypes: Float[Tensor, "B C D"]
) -> Float[Tensor, "B C h w"]:
    """Rectified cosine similarity of cells to prototypes; a zero prototype gives a zero map (SIPE section 3.2).

    The maps are not scaled to a peak of 1.

    Examples:
        >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> image_specific_cams(features, torch.tensor([[[3.0, 0.0]]])).tolist()
        [[[[1.0, 0.0]]]]
    """
    cells = F.normalize(features.flatten(2), dim=1, eps=COSINE_EPSILON)
    cosine = F.normalize(prototypes, dim=2, eps=COSINE_EPSILON) @ cells
    return F.relu(cosine).unflatten(2, features.shape[2:])
