import itertools
import math

import numpy as np
import pytest
import torch

from pcc.refine.random_walk import half_plane_offsets, path, propagate, refine, refine_batch


def random(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense_propagate(maps, boundary, radius, beta, steps):
    """SIPE section 7.3 written out: a dense matrix, pair by pair, raised to a power."""
    height, width = boundary.shape
    cells = list(itertools.product(range(height), range(width)))
    weights = torch.eye(len(cells), dtype=boundary.dtype)
    for (i, (y1, x1)), (j, (y2, x2)) in itertools.permutations(enumerate(cells), 2):
        length = math.hypot(y2 - y1, x2 - x1)
        if length >= radius:
            continue
        highest = 0.0
        for y in range(min(y1, y2), max(y1, y2) + 1):
            for x in range(min(x1, x2), max(x1, x2) + 1):
                distance = abs((y2 - y1) * (x - x1) - (x2 - x1) * (y - y1)) / length
                if distance < 1 - 1e-9:
                    highest = max(highest, boundary[y, x].item())
        weights[i, j] = (1 - highest) ** beta
    transition = weights / weights.sum(dim=0, keepdim=True)
    return (maps.flatten(1) @ torch.linalg.matrix_power(transition, steps)).reshape(maps.shape)


@pytest.mark.parametrize(
    ("height", "width", "radius", "beta", "steps"),
    [(7, 9, 5, 10, 256), (7, 9, 5, 10, 1), (9, 6, 3, 4, 7), (3, 2, 5, 10, 16), (6, 7, 6, 2, 3), (1, 8, 5, 2, 4)],
)
def test_against_a_dense_matrix(height, width, radius, beta, steps):
    maps, boundary = random(3, height, width), random(height, width, seed=1) * 0.6
    got = propagate(maps, boundary, radius, beta, steps)
    torch.testing.assert_close(got, dense_propagate(maps, boundary, radius, beta, steps))
    assert (got - maps).abs().max() > 0.01


def test_single_precision():
    maps, boundary = random(2, 6, 7), random(6, 7, seed=1) ** 2
    got = propagate(maps.float(), boundary.float())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, propagate(maps, boundary).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("radius", "count"), [(5, 34), (10, 152)])
def test_offsets(radius, count):
    offsets = half_plane_offsets(radius)
    assert len(offsets) == count
    square = itertools.product(range(-radius, radius + 1), repeat=2)
    disc = {(y, x) for y, x in square if y * y + x * x < radius**2}
    assert {*offsets, *((-y, -x) for y, x in offsets), (0, 0)} == disc


def test_paths_by_hand():
    assert path(0, 3) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert path(2, 0) == [(0, 0), (1, 0), (2, 0)]
    # A diagonal's neighbours lie 0.71 from it; a slope of 2 has neighbours 0.45 and 0.89 away.
    assert path(1, 1) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    # From (0, 0) to (1, -2): the box's empty corners lie 2 / sqrt(5) = 0.89 away, so all six cells belong.
    assert path(1, -2) == [(0, -2), (0, -1), (0, 0), (1, -2), (1, -1), (1, 0)]
    # Twice as far, the two cells in each empty corner lie 1.79 and 1.34 away.
    box = set(itertools.product(range(3), range(-4, 1)))
    assert box - set(path(2, -4)) == {(0, -4), (0, -3), (2, -1), (2, 0)}


def test_constants_are_preserved():
    boundary = random(20, 30).float()
    constant = torch.full((2, 20, 30), 0.7)
    torch.testing.assert_close(propagate(constant, boundary), constant)


def test_a_wall_blocks_flow():
    maps, boundary = torch.zeros(1, 6, 11), torch.zeros(6, 11)
    maps[:, :, :5] = 1
    boundary[:, 5] = 1
    got = propagate(maps, boundary)
    torch.testing.assert_close(got, maps)
    boundary[3, 5] = 0
    leaked = propagate(maps, boundary)
    assert leaked[0, 3, 8] > 0.01, "a gap lets it through"


def test_long_walks_flatten_open_areas():
    got = propagate(random(1, 5, 5), torch.zeros(5, 5, dtype=torch.float64))
    assert got.std() < 1e-6


def test_mirrored_in_mirrored_out():
    maps, boundary = random(2, 5, 8), random(5, 8, seed=1)
    mirrored = propagate(maps.flip(-1), boundary.flip(-1))
    torch.testing.assert_close(mirrored, propagate(maps, boundary).flip(-1))


def test_several_batch_size():
    maps, boundary = random(2, 3, 9, 7), random(2, 9, 7, seed=1)
    both = propagate(maps, boundary, steps=9)
    for one, given, edge in zip(both, maps, boundary, strict=True):
        torch.testing.assert_close(one, propagate(given, edge, steps=9))


@pytest.mark.parametrize("size", [(32, 48), (30, 45), (33, 41), (3, 2)])
def test_masks_lie_on_whole_cells(size):
    """The last row and column of cells reach beyond an image whose sides four does not divide: cut, not squeezed."""
    grid = [-(-side // 4) for side in size]
    maps = torch.zeros(2, *grid)
    maps[0, :, : grid[1] // 2], maps[1, :, grid[1] // 2 :] = 1, 1
    boundary = torch.ones(grid) * 0.999  # nothing flows
    mask = refine(np.zeros((*size, 3), np.uint8), maps, boundary)
    assert mask.shape == size and mask.dtype == np.uint8
    expected = np.arange(size[1]) >= 4 * (grid[1] // 2)
    np.testing.assert_array_equal(mask, np.broadcast_to(expected, size))


def test_a_batch_of_all_sizes_is_as_each_alone():
    """Other sizes, other numbers of classes, one without any and one smaller than a cell."""
    sizes = [(30, 45), (61, 24), (3, 2), (32, 32)]
    images = [np.zeros((*size, 3), np.uint8) for size in sizes]
    maps = [random(k, 3, 4, seed=k).float() for k in (2, 4, 3, 1)]
    grids = [(-(-h // 4), -(-w // 4)) for h, w in sizes]
    boundaries = [0.5 * random(*grid, seed=i).float() for i, grid in enumerate(grids)]
    together = refine_batch(images, maps, boundaries, steps=20)
    for mask, image, values, boundary in zip(together, images, maps, boundaries, strict=True):
        np.testing.assert_array_equal(mask, refine(image, values, boundary, steps=20))
    assert len(np.unique(together[1])) > 1


def test_maps_of_nothing_are_background():
    boundary = torch.rand(5, 6)
    image = np.zeros((20, 24, 3), np.uint8)
    assert (refine(image, torch.zeros(3, 2, 2), boundary) == 0).all()
    assert (refine(image, torch.rand(1, 2, 2), boundary) == 0).all(), "no tag"


def test_memory_grows_with_cells_not_with_pairs():
    """94 x 125 cells, an image of 375 x 500: the dense matrix alone would be 552 MB."""
    boundary = torch.rand(94, 125, generator=torch.Generator().manual_seed(0))
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True) as profile:
        propagate(torch.rand(2, 94, 125), boundary, steps=4)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < 5e6
