import math

import pytest
import torch

from pcc.methods.semples import matching_loss, prompt_loss, refinement_loss
from pcc.runtime.errors import InputError


def towards(*cosines):
    """Unit vectors whose cosines with (1, 0) are given."""
    return torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=torch.float64)


AXIS = towards(1.0, 1.0)


def mean(function, *values):
    return sum(map(function, values)) / len(values)


def test_matching_by_hand():
    expected = mean(lambda c: -math.log(c), 0.3, 0.8) + 2.4 * mean(lambda c: -math.log(1 - c), 0.2, 0.6)
    got = matching_loss(towards(0.3, 0.8), towards(0.2, 0.6), AXIS, 2.4)
    assert got.item() == pytest.approx(expected)


def test_prompt_by_hand():
    pull = mean(lambda c: -math.log(c), 0.3, 0.8)
    log = prompt_loss(towards(0.3, 0.8), AXIS, towards(0.2, 0.6), 0.02)
    assert log.item() == pytest.approx(pull + 0.02 * mean(math.log, 0.2, 0.6))
    log1m = prompt_loss(towards(0.3, 0.8), AXIS, towards(0.2, 0.6), 0.02, repel="log1m")
    assert log1m.item() == pytest.approx(pull + 0.02 * mean(lambda c: -math.log(1 - c), 0.2, 0.6))


def test_refinement_by_hand():
    expected = mean(lambda c: -math.log(1 - c), 0.3, 0.8)
    assert refinement_loss(towards(0.3, 0.8), AXIS).item() == pytest.approx(expected)


def test_rows_need_not_be_unit_vectors():
    got = refinement_loss(7 * towards(0.3, 0.8), 0.1 * AXIS)
    torch.testing.assert_close(got, refinement_loss(towards(0.3, 0.8), AXIS))


def test_unknown_repel():
    with pytest.raises((InputError, TypeError)):  # the shape checker also checks the literal, where it is on
        prompt_loss(AXIS, AXIS, AXIS, 1.0, repel="exp")


# Every cosine in a loss is one with its last argument here.
LOSSES = {
    "matching": lambda a, b, c: matching_loss(a, b, c, 2.4),
    "prompt-log": lambda a, b, c: prompt_loss(a, c, b, 0.02),
    "prompt-log1m": lambda a, b, c: prompt_loss(a, c, b, 0.02, repel="log1m"),
    "refinement": lambda a, b, c: refinement_loss(a, c),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_inside_the_clamp(loss):
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(3, 3, 4, dtype=torch.float64, generator=generator) + 0.1
    assert torch.autograd.gradcheck(loss, [row.clone().requires_grad_() for row in rows])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("cosine", [-0.9, -1e-3, 1.0])
def test_no_gradient_outside_the_clamp(loss, cosine):
    rows = [row.clone().requires_grad_() for row in (towards(cosine, cosine), towards(cosine, cosine), AXIS)]
    value = loss(*rows)
    value.backward()
    assert value.isfinite()
    assert all(row.grad is None or (row.grad == 0).all() for row in rows)


def test_the_clamp_bounds_the_losses():
    low, high = -math.log(1e-4), -math.log(0.9999)
    assert matching_loss(towards(-0.5), towards(1.0), AXIS[:1], 1.0).item() == pytest.approx(2 * low)
    assert matching_loss(towards(1.0), towards(-0.5), AXIS[:1], 1.0).item() == pytest.approx(2 * high)
    assert prompt_loss(towards(1.0), AXIS[:1], towards(-0.5), 1.0).item() == pytest.approx(high - low)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_no_pairs_no_loss(loss):
    rows = [torch.empty(0, 4, requires_grad=True) for _ in range(3)]
    value = loss(*rows)
    assert value.item() == 0
    value.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    """1 - 0.9999 is 0 in half precision."""
    same = AXIS.to(dtype)
    assert refinement_loss(same, same).item() == pytest.approx(-math.log(1e-4), rel=1e-3)


def test_the_two_signs_of_the_prompt():
    """Prompts nearer the background and farther from the class name cost less."""
    background, name = towards(0.95), towards(0.2)
    near_background, near_name = towards(0.9), towards(0.25)
    for repel in ("log", "log1m"):
        assert prompt_loss(background, near_background, name, 0.1, repel) < prompt_loss(
            background, near_name, name, 0.1, repel
        )
