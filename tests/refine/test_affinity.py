import pytest
import torch
from torch.nn import functional as F

from pcc.refine.affinity import propagate


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("power", "steps"), [(8, 1), (1, 1), (2.5, 3)])
def test_against_the_written_out_mean(power, steps):
    maps, features = random(2, 3, 4).abs(), random(5, 3, 4, seed=1)
    expected = maps.flatten(1)
    cells = features.flatten(1).T
    for _ in range(steps):
        means = []
        for cell in cells:
            weights = F.cosine_similarity(cell[None], cells).clamp_min(0) ** power
            means.append((expected * weights).sum(dim=1) / weights.sum())
        expected = torch.stack(means, dim=1)
    torch.testing.assert_close(propagate(maps, features, power, steps), expected.reshape(maps.shape))


def test_constants_are_preserved_even_where_features_are_zero():
    features = random(5, 3, 4)
    features[:, 1, 2] = 0
    maps = torch.full((2, 3, 4), 0.3, dtype=torch.float64)
    torch.testing.assert_close(propagate(maps, features, steps=3), maps)


def test_values_spread_within_a_group_only():
    """Two groups with orthogonal features; one cell of the left one is named."""
    features = torch.zeros(2, 2, 4)
    features[0, :, :2], features[1, :, 2:] = 1, 1
    maps = torch.zeros(1, 2, 4)
    maps[0, 0, 0] = 1
    assert propagate(maps, features)[0].tolist() == [[0.25, 0.25, 0, 0]] * 2


def test_a_large_power_changes_nothing():
    maps, features = random(2, 3, 4), random(5, 3, 4, seed=1)
    torch.testing.assert_close(propagate(maps, features, power=1e6), maps)


def test_mirrored_in_mirrored_out():
    maps, features = random(2, 3, 4), random(5, 3, 4, seed=1)
    mirrored = propagate(maps.flip(-1), features.flip(-1))
    torch.testing.assert_close(mirrored, propagate(maps, features).flip(-1))
