"""Random walk stopped by class boundaries (Ahn et al., CVPR 2019, IRN section 5), as sums of shifted maps."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pcc.maps import resize, to_mask
from pcc.runtime.settings import Cells, limits

Exponent = Annotated[int | float, limits(gt=0, le=1000)]
STRIDE = 4  # pixels per cell of the boundary grid
# Weaker links have no effect, but their denormal products slow CPUs down.
WEAKEST_LINK = 1e-20


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k _ _"],
    boundary: Float[Tensor, "h w"],
    power: Exponent = 1.5,
    radius: Cells = 5,
    beta: Exponent = 10,
    steps: Annotated[int, limits("steps", ge=1, le=10_000)] = 256,
) -> UInt8[np.ndarray, "H W"]:
    """Argmax channel of each pixel after a random walk (sipe.md §7.3); background is propagated like a class.

    Args:
        image: RGB; only its size is used.
        maps: non-negative scores, background first; resized to the boundary grid.
        boundary: probability of a class boundary (stage `boundaries`).
        power: exponent on the maps.
        radius: linked cells are nearer than this; a cell is 4 pixels.
        beta: exponent on the affinities.
        steps: length of the walk.
    """
    return refine_batch([image], [maps], [boundary], power, radius, beta, steps)[0]


def refine_batch(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    maps: Sequence[Float[Tensor, "_ _ _"]],
    boundaries: Sequence[Float[Tensor, "_ _"]],
    power: Exponent = 1.5,
    radius: Cells = 5,
    beta: Exponent = 10,
    steps: Annotated[int, limits("steps", ge=1, le=10_000)] = 256,
) -> list[UInt8[np.ndarray, "_ _"]]:
    """`refine` for a batch of images of any size and number of classes, on the device of the maps."""
    channels = max(map(len, maps))
    height, width = (max(boundary.shape[side] for boundary in boundaries) for side in (0, 1))
    # Padding is boundary, which nothing crosses: results equal those of single images.
    padded = maps[0].new_ones(len(maps), height, width)
    start = maps[0].new_zeros(len(maps), channels, height, width)
    for i, (values, boundary) in enumerate(zip(maps, boundaries, strict=True)):
        h, w = boundary.shape
        padded[i, :h, :w] = boundary
        sharpened = resize(values[None], (h, w))[0].clamp_min(0) ** power
        start[i, : len(values), :h, :w] = sharpened * (1 - boundary)
    walked = propagate(start, padded, radius, beta, steps)
    masks = []
    for image, values, boundary, result in zip(images, maps, boundaries, walked, strict=True):
        h, w = boundary.shape
        # The grid may exceed the image; crop, do not resize.
        mask = to_mask(result[: len(values), :h, :w], range(len(values)), (STRIDE * h, STRIDE * w))
        masks.append(mask[: image.shape[0], : image.shape[1]])
    return masks


def propagate(
    maps: Float[Tensor, "*B C h w"],
    boundary: Float[Tensor, "*B h w"],
    radius: int = 5,
    beta: int | float = 10,
    steps: int = 256,
) -> Float[Tensor, "*B C h w"]:
    """Propagate maps within class boundaries: ``x <- x T``, ``steps`` times (IRN section 5).

    Column i of ``T`` holds the affinities ``a ** beta`` of cell i to cells nearer than ``radius``, and 1 to itself,
    divided by their sum; ``a`` is 1 minus the highest boundary on the path between two cells. Constant maps are
    unchanged. SIPE passes ``maps ** 1.5 * (1 - boundary)`` and divides the result by its maximum.

    ``T`` is not materialised: each offset has one plane of weights, and a step sums shifted maps.

    Args:
        maps: localization maps on the boundary grid, of one or several images.
        boundary: probability of a class boundary in each cell; 1 blocks the walk.
        radius: in cells; 5 links a cell with 68 others.
        beta: exponent on the affinities.
        steps: number of steps.

    Examples:
        >>> boundary = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
        >>> propagate(torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), boundary, radius=2).tolist()
        [[[0.5, 0.5, 0.0, 0.0]]]
    """
    # float64: in float32, 256 steps accumulate errors of up to 1e-3.
    links = _links(boundary.double(), radius, beta)
    total = torch.ones_like(boundary, dtype=torch.double)[..., None, :, :]
    for (dy, dx), weight in links.items():
        shifted(total, dy, dx, 0, 0).add_(weight)
        shifted(total, dy, dx, dy, dx).add_(weight)
    values = maps.double()
    for _ in range(steps):
        spread = values.clone()
        for (dy, dx), weight in links.items():
            shifted(spread, dy, dx, 0, 0).addcmul_(weight, shifted(values, dy, dx, dy, dx))
            shifted(spread, dy, dx, dy, dx).addcmul_(weight, shifted(values, dy, dx, 0, 0))
        values = spread.div_(total)
    return values.to(maps.dtype)


def half_plane_offsets(radius: int) -> list[tuple[int, int]]:
    """Offsets (dy, dx) shorter than ``radius``, one of each opposite pair: dy > 0, or dy = 0 and dx > 0."""
    candidates = itertools.product(range(radius), range(1 - radius, radius))
    return [(dy, dx) for dy, dx in candidates if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius]


def path(dy: int, dx: int) -> list[tuple[int, int]]:
    """Cells in the bounding box of (0, 0) and (dy, dx) that are nearer than one cell to the segment."""
    box = itertools.product(range(dy + 1), range(min(dx, 0), max(dx, 0) + 1))
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def shifted(grid: Shaped[Tensor, "*B h w"], dy: int, dx: int, y: int, x: int) -> Shaped[Tensor, "*B _ _"]:
    """``grid[i + (y, x)]`` for all cells i with i and i + (dy, dx) on the grid."""
    height, width = grid.shape[-2] - dy, grid.shape[-1] - abs(dx)
    left = max(-dx, 0) + x
    return grid[..., y : y + height, left : left + width]


def highest_on_path(boundary: Float[Tensor, "*B h w"], dy: int, dx: int) -> Float[Tensor, "*B _ _"]:
    """Maximum on the `path` from i to i + (dy, dx), for all pairs on the grid."""
    return torch.stack([shifted(boundary, dy, dx, y, x) for y, x in path(dy, dx)]).amax(dim=0)


def _links(
    boundary: Float[Tensor, "*B h w"], radius: int, beta: int | float
) -> dict[tuple[int, int], Float[Tensor, "*B 1 _ _"]]:
    """Link weights of all pairs on the grid, by offset."""
    found = {}
    for dy, dx in half_plane_offsets(radius):
        if dy < boundary.shape[-2] and abs(dx) < boundary.shape[-1]:
            weight = (1 - highest_on_path(boundary, dy, dx)) ** beta
            found[dy, dx] = weight.where(weight > WEAKEST_LINK, 0.0)[..., None, :, :]
    return found
