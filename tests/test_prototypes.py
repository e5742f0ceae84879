"""The golden case is SIPE's worked example: 2 x 2 grid, two classes, both present, no padding."""

import pytest
import torch
from torch.nn import functional as F

from pcc.maps import normalize_cams, with_background
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds


def grid(cells):
    return torch.tensor(cells, dtype=torch.float64).T.reshape(1, -1, 2, 2)


@pytest.fixture
def golden():
    logits = torch.tensor([[2, 1, 0.2, 0], [-1, 0, 0.5, 1]], dtype=torch.float64).reshape(1, 2, 2, 2)
    maps = with_background(normalize_cams(logits))
    query = grid([[1, 0], [1, 0], [0.6, 0.8], [0, 1]])
    features = grid([[1, 0, 0.5], [0.9, 0.1, 0.5], [0.5, 0.8, 0.2], [0, 1, 0.1]])
    return maps, query, features


def test_golden_seeds(golden):
    maps, query, _ = golden
    seeds = structure_seeds(query, maps, torch.ones_like(maps))
    assert seeds.argmax(dim=1).flatten().tolist() == [1, 1, 2, 2]
    assert seeds.sum().item() == 4


def test_golden_image_specific_cams(golden):
    maps, query, features = golden
    seeds = structure_seeds(query, maps, torch.ones_like(maps))
    cams = image_specific_cams(features, prototypes(features, seeds))
    expected = torch.tensor([[0, 0, 0, 0], [0.9987, 0.9985, 0.5934, 0.0926], [0.3073, 0.3985, 0.9591, 0.9624]])
    torch.testing.assert_close(cams.flatten(2)[0], expected.double(), rtol=0, atol=5e-5)


def _reference_seeds(query, maps, valid, discount):
    """SIPE section 3.1 cell by cell, with the N x N x C products written out."""
    batch, channels, _, width = maps.shape
    seeds = torch.zeros_like(maps)
    for b in range(batch):
        cells = query[b].flatten(1).T
        for i, cell in enumerate(cells):
            lengths = (cell.norm() + 1e-5) * (cells.norm(dim=1) + 1e-5)
            structure = (cells @ cell / lengths).clamp(min=0)
            overlaps = []
            for c in range(channels):
                area = maps[b, c].flatten()
                shared = sum(structure[j] * area[j] for j in range(len(cells)))
                overlap = shared / (structure.sum() + area.sum() - shared)
                overlaps.append(discount * overlap if c == 0 else overlap)
            winner = int(torch.stack(overlaps).argmax())
            seeds[b, winner, i // width, i % width] = valid[b, winner, i // width, i % width]
    return seeds


@pytest.mark.parametrize("discount", [0.5, 1.0])
def test_seeds_against_the_written_out_sum(discount):
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(2, 5, 3, 4, dtype=torch.float64, generator=generator)
    maps = torch.rand(2, 4, 3, 4, dtype=torch.float64, generator=generator) ** 3
    valid = torch.rand(2, 4, 3, 4, generator=generator) > 0.3
    got = structure_seeds(query, maps, valid, discount)
    torch.testing.assert_close(got, _reference_seeds(query, maps, valid, discount))
    assert 0 < got.sum() < 24, "some winners are forbidden, so some cells seed nothing"


def test_the_background_is_discounted():
    maps = torch.tensor([[[[0.6, 0.6]], [[0.5, 0.5]]]])
    query = torch.ones(1, 1, 1, 2)
    assert structure_seeds(query, maps, torch.ones_like(maps), 1.0)[0, 0].sum() == 2
    assert structure_seeds(query, maps, torch.ones_like(maps), 0.5)[0, 1].sum() == 2


def test_zero_features_and_empty_classes_give_no_nan():
    maps = torch.zeros(1, 3, 2, 2)
    maps[:, 0] = 1
    # 0 / 0 would be NaN, which arg-max takes for the largest overlap.
    seeds = structure_seeds(torch.zeros(1, 4, 2, 2), maps, torch.ones_like(maps))
    assert (seeds[:, 1:] == 0).all()
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    cams = image_specific_cams(features, prototypes(features, torch.zeros_like(maps)))
    assert (cams == 0).all()
    cams.sum().backward()
    assert (features.grad == 0).all()


def test_prototypes_are_means_over_all_cells():
    features = torch.arange(8.0).reshape(1, 2, 2, 2)
    seeds = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]]])
    assert prototypes(features, seeds)[0].tolist() == [[3 / 4, 11 / 4], [1 / 4, 5 / 4]]


def test_cams_are_rectified_cosines():
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 5, 3, 4, generator=generator)
    centres = torch.randn(2, 3, 5, generator=generator)
    expected = F.cosine_similarity(features[:, None], centres[:, :, :, None, None], dim=2).clamp_min(0)
    torch.testing.assert_close(image_specific_cams(features, centres), expected)


def test_mirrored_in_mirrored_out(golden):
    maps, query, features = golden

    def cams(maps, query, features):
        seeds = structure_seeds(query, maps, torch.ones_like(maps))
        return image_specific_cams(features, prototypes(features, seeds))

    torch.testing.assert_close(cams(*(x.flip(-1) for x in golden)), cams(maps, query, features).flip(-1))


def test_seeds_carry_no_gradient_but_cams_do():
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(1, 3, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    features = torch.rand(1, 4, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    seeds = structure_seeds(features, maps, torch.ones_like(maps))
    assert not seeds.requires_grad
    assert torch.autograd.gradcheck(lambda f: image_specific_cams(f, prototypes(f, seeds)), features)
