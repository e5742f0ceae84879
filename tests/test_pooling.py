import pytest
import torch

from pcc.pooling import resolve_k, top_k_pool
from pcc.runtime.errors import InputError


@pytest.fixture
def probabilities():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 11, 4, dtype=torch.float64, generator=generator).softmax(dim=2)


def test_one_is_max_pooling(probabilities):
    torch.testing.assert_close(top_k_pool(probabilities, 1), probabilities.amax(dim=1))


def test_all_is_mean_pooling(probabilities):
    torch.testing.assert_close(top_k_pool(probabilities, 11), probabilities.mean(dim=1))


def test_against_sorting(probabilities):
    largest = probabilities.sort(dim=1, descending=True).values[:, :6]
    torch.testing.assert_close(top_k_pool(probabilities, 6), largest.mean(dim=1))


@pytest.mark.parametrize("k", [1, 6, 11])
def test_gradient_reaches_exactly_k_patches_per_class(probabilities, k):
    probabilities.requires_grad_()
    top_k_pool(probabilities, k).sum().backward()
    assert (probabilities.grad != 0).sum(dim=1).eq(k).all()
    torch.testing.assert_close(probabilities.grad.sum(dim=1), torch.ones(3, 4, dtype=torch.float64))


@pytest.mark.parametrize(("k", "n", "expected"), [(6, 576, 6), (0.05, 576, 29), (0.5, 4, 2), (0.001, 4, 1), (4, 4, 4)])
def test_resolve_k(k, n, expected):
    assert resolve_k(k, n) == expected


@pytest.mark.parametrize("k", [0, -1, 1.0, 2.5, -0.1, True, 5])
def test_unusable_k(k):
    with pytest.raises(InputError, match="top-k pooling: k is"):
        resolve_k(k, 4)
