import pytest
import torch

from pcc.maps import normalize_cams, with_background
from pcc.methods.sipe import consistency_loss
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds


def test_golden_loss():
    """SIPE's worked example, from logits to loss."""
    logits = torch.tensor([[2, 1, 0.2, 0], [-1, 0, 0.5, 1]], dtype=torch.float64).reshape(1, 2, 2, 2)
    query = torch.tensor([[1, 1, 0.6, 0], [0, 0, 0.8, 1]], dtype=torch.float64).reshape(1, 2, 2, 2)
    features = torch.tensor([[1, 0.9, 0.5, 0], [0, 0.1, 0.8, 1], [0.5, 0.5, 0.2, 0.1]], dtype=torch.float64)
    features = features.reshape(1, 3, 2, 2)
    maps = with_background(normalize_cams(logits))
    seeds = structure_seeds(query, maps, torch.ones_like(maps))
    loss = consistency_loss(maps, image_specific_cams(features, prototypes(features, seeds)))
    assert loss.item() == pytest.approx(0.2764, abs=5e-5)


def test_absent_classes_shrink_the_mean():
    maps, specific = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    empty = torch.zeros(2, 3, 4, 4)
    alone = consistency_loss(maps, specific)
    padded = consistency_loss(torch.cat([maps, empty], 1), torch.cat([specific, empty], 1))
    torch.testing.assert_close(padded, alone / 2)


def test_scale_of_the_image_specific_maps_does_not_matter():
    maps, specific = torch.rand(1, 2, 4, 4, dtype=torch.float64), torch.rand(1, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(
        consistency_loss(maps, 50 * specific), consistency_loss(maps, 5 * specific), rtol=0, atol=1e-5
    )


def test_gradient_reaches_both_sides():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(1, 2, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    specific = (torch.rand(1, 2, 2, 3, dtype=torch.float64, generator=generator) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(consistency_loss, (maps, specific))
    consistency_loss(maps, specific).backward()
    assert maps.grad.abs().sum() > 0
    assert specific.grad.abs().sum() > 0
