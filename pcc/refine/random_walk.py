"""Random walk over class boundaries (Ahn et al., CVPR 2019, IRN section 5), as sparse products."""

import itertools
import warnings

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pcc.maps import resize, to_mask

# Weaker links cannot move a value within a walk, but their products are denormal and slow CPUs down.
WEAKEST_LINK = 1e-20


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k _ _"],
    boundary: Float[Tensor, "h w"],
    power: int | float = 1.5,
    radius: int = 5,
    beta: int | float = 10,
    steps: int = 256,
) -> UInt8[np.ndarray, "H W"]:
    """Channel number of the strongest map after a walk from inside the classes to their boundaries (sipe.md §7.3).

    No background threshold: the background walks as a class among others.

    Args:
        image: RGB, for its size.
        maps: non-negative scores, background first; brought to the boundaries' grid.
        boundary: probability of a class boundary (stage `boundaries`).
        power: sharpens the maps.
        radius: see `propagate`; ``beta`` and ``steps`` too.
    """
    start = resize(maps[None], (boundary.shape[0], boundary.shape[1]))[0].clamp_min(0) ** power * (
        1 - boundary
    )
    return to_mask(propagate(start, boundary, radius, beta, steps), range(len(maps)), image.shape[:2])


def propagate(
    maps: Float[Tensor, "C h w"],
    boundary: Float[Tensor, "h w"],
    radius: int = 5,
    beta: int | float = 10,
    steps: int = 256,
) -> Float[Tensor, "C h w"]:
    """Spread map values to their neighbours, but not across boundaries: ``x <- x T``, ``steps`` times.

    ``T`` has one column per cell: the affinities ``a ** beta`` to the cells nearer than ``radius`` and 1 to
    itself, divided by their sum; ``a`` is 1 minus the highest boundary on the path between two cells. So a
    new value is a weighted mean of old ones, and a constant map stays as it is. SIPE passes
    ``maps ** 1.5 * (1 - boundary)`` and divides the result by its maximum.

    Args:
        maps: localization maps on the boundary's grid.
        boundary: probability of a class boundary at each cell; 1 lets nothing through.
        radius: cells; 5 links a cell with 68 others.
        beta: exponent on the affinities.
        steps: length of the walk.
    """
    # Double precision inside: 256 roundings in single precision move values by up to 1e-3.
    transition = _transition(boundary.double(), radius, beta)
    values = maps.double().flatten(1).T.contiguous()
    for _ in range(steps):
        values = transition @ values
    return values.T.reshape(maps.shape).to(maps.dtype)


def half_plane_offsets(radius: int) -> list[tuple[int, int]]:
    """Every (dy, dx) shorter than ``radius``, one of each opposite pair: dy > 0, or dy = 0 and dx > 0."""
    candidates = itertools.product(range(radius), range(1 - radius, radius))
    return [(dy, dx) for dy, dx in candidates if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius]


def path(dy: int, dx: int) -> list[tuple[int, int]]:
    """The cells from (0, 0) to (dy, dx), ends included: in their box, nearer than one cell to the segment."""
    box = itertools.product(range(dy + 1), range(min(dx, 0), max(dx, 0) + 1))
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def shifted(grid: Shaped[Tensor, "*B h w"], dy: int, dx: int, y: int, x: int) -> Shaped[Tensor, "*B _ _"]:
    """``grid[i + (y, x)]`` for every cell i for which i and i + (dy, dx) both lie on the grid."""
    height, width = grid.shape[-2] - dy, grid.shape[-1] - abs(dx)
    left = max(-dx, 0) + x
    return grid[..., y : y + height, left : left + width]


def highest_on_path(boundary: Float[Tensor, "*B h w"], dy: int, dx: int) -> Float[Tensor, "*B _ _"]:
    """The largest value on the `path` from every cell i to i + (dy, dx), for pairs that lie on the grid."""
    return torch.stack([shifted(boundary, dy, dx, y, x) for y, x in path(dy, dx)]).amax(dim=0)


def _transition(boundary: Float[Tensor, "h w"], radius: int, beta: int | float) -> Float[Tensor, "N N"]:
    """The sparse transpose of ``T``: row j holds the weights of cell j's mean. The outside has no links."""
    cells = torch.arange(boundary.numel(), device=boundary.device).reshape(boundary.shape)
    rows, columns = [cells.flatten()], [cells.flatten()]
    weights = [torch.ones_like(boundary).flatten()]
    for dy, dx in half_plane_offsets(radius):
        if dy >= boundary.shape[0] or abs(dx) >= boundary.shape[1]:
            continue
        weight = (1 - highest_on_path(boundary, dy, dx)).flatten() ** beta
        linked = weight > WEAKEST_LINK
        start = shifted(cells, dy, dx, 0, 0).flatten()[linked]
        end = shifted(cells, dy, dx, dy, dx).flatten()[linked]
        rows += [start, end]
        columns += [end, start]
        weights += [weight[linked]] * 2
    row, weight = torch.cat(rows), torch.cat(weights)
    total = torch.zeros_like(weights[0]).index_add(0, row, weight)
    indices = torch.stack([row, torch.cat(columns)])
    size = (cells.numel(), cells.numel())
    transposed = torch.sparse_coo_tensor(indices, weight / total[row], size, check_invariants=False)
    with warnings.catch_warnings():
        # Only the announcement that CSR is a young format; its product is 20 times faster than COO's here.
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return transposed.to_sparse_csr()
