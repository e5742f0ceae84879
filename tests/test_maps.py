import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcc.maps import (
    background_threshold,
    condition_on_labels,
    merge_tta,
    normalize_cams,
    resize,
    to_mask,
    with_background,
)


def random(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_normalize_cams_by_hand():
    logits = torch.tensor([[[[2.0, -1.0], [1.0, 0.0]], [[-3.0, -1.0], [0.0, -2.0]]]], dtype=torch.float64)
    expected = torch.tensor([[[[2.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    expected[0, 0] /= 2.00001
    torch.testing.assert_close(normalize_cams(logits), expected, rtol=0, atol=1e-15)


def test_normalize_cams_gradient_includes_the_maximum():
    assert torch.autograd.gradcheck(normalize_cams, (random(1, 2, 2, 3) + 0.1).requires_grad_())


def test_background_is_one_minus_the_best_class():
    cams = random(2, 3, 4, 5)
    maps = with_background(cams)
    torch.testing.assert_close(maps[:, 1:], cams, rtol=0, atol=0)
    torch.testing.assert_close(
        maps[:, 0] + torch.maximum(torch.maximum(cams[:, 0], cams[:, 1]), cams[:, 2]),
        torch.ones(2, 4, 5, dtype=torch.float64),
    )


def test_background_from_the_present_classes_only():
    cams = normalize_cams(random(1, 2, 3, 3))
    cams[:, 1] = 0
    torch.testing.assert_close(with_background(cams)[:, 0], 1 - cams[:, 0])


def test_background_threshold():
    maps = background_threshold(torch.tensor([[[0.3, 0.5]]]), 0.4)
    assert maps.argmax(dim=0).tolist() == [[0, 1]]
    assert maps[0].tolist() == [[pytest.approx(0.4)] * 2]


def test_conditioning_by_hand():
    probabilities = torch.tensor([[0.2, 0.4], [0.6, 0.1], [0.2, 0.5]]).double().reshape(1, 3, 1, 2)
    got = condition_on_labels(probabilities, torch.tensor([[1.0, 0.0]]))
    # Background 0.5, 1; class 1: 1, 1/6; class 2 absent.
    expected = torch.tensor([[1 / 3, 6 / 7], [2 / 3, 1 / 7], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(got[0, :, 0], expected, rtol=0, atol=1e-6)
    undivided = condition_on_labels(probabilities, torch.tensor([[1.0, 0.0]]), divide_by_maximum=False)
    expected = torch.tensor([[0.25, 0.8], [0.75, 0.2], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(undivided[0, :, 0], expected, rtol=0, atol=1e-6)


LABELS = hnp.arrays(np.float32, (2, 4), elements=st.sampled_from([0.0, 1.0]))


@given(seed=st.integers(0, 10_000), labels=LABELS, divide=st.booleans())
def test_conditioning_laws(seed, labels, divide):
    probabilities = (random(2, 5, 3, 4, seed=seed) * 4).softmax(dim=1)
    got = condition_on_labels(probabilities, torch.from_numpy(labels), divide)
    absent = torch.from_numpy(labels) == 0
    assert (got[:, 1:][absent] == 0).all()
    torch.testing.assert_close(got.sum(dim=1), torch.ones(2, 3, 4, dtype=torch.float64))
    # The background tells each cell's renormaliser; without it, each present class peaks at 1 (or as it did).
    background = probabilities[:, :1]
    before = background / background.amax((2, 3), keepdim=True) if divide else background
    peaks = (got / (got[:, :1] / before)).amax((2, 3))
    expected = torch.ones(2, 5) if divide else probabilities.amax((2, 3))
    present = torch.cat([torch.ones(2, 1, dtype=bool), ~absent], dim=1)
    torch.testing.assert_close(peaks[present], expected[present].double())


def test_conditioning_keeps_zero_classes_and_cells_zero():
    probabilities = random(1, 3, 2, 2)
    probabilities[:, 1] = 0
    probabilities[:, :, 0, 0] = 0
    got = condition_on_labels(probabilities, torch.ones(1, 2, dtype=torch.int64))
    assert got.isfinite().all()
    assert (got[:, 1] == 0).all()
    assert (got[:, :, 0, 0] == 0).all()


@pytest.mark.parametrize(
    "function",
    [
        normalize_cams,
        with_background,
        lambda x: condition_on_labels(x, torch.ones(2, 2)),
        lambda x: resize(x, (7, 10)),
        lambda x: merge_tta([x, resize(x, (6, 10))], (8, 12)),
    ],
)
def test_mirrored_in_mirrored_out(function):
    maps = random(2, 3, 4, 5)
    torch.testing.assert_close(function(maps.flip(-1)), function(maps).flip(-1))


def test_merging_a_view_with_itself_changes_nothing():
    maps = random(1, 3, 4, 4)
    torch.testing.assert_close(merge_tta([maps, maps], (4, 4)), maps)
    torch.testing.assert_close(merge_tta([maps, maps], (4, 4), "sum"), 2 * maps)


def test_merging_scales_keeps_distributions():
    views = [random(1, 3, n, n, seed=n).softmax(dim=1) for n in (3, 4, 6)]
    merged = merge_tta(views, (5, 7))
    torch.testing.assert_close(merged.sum(dim=1), torch.ones(1, 5, 7, dtype=torch.float64))


def test_bilinear_has_half_pixel_centres():
    row = resize(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    assert row.flatten().tolist() == [0, 0.25, 0.75, 1]


def test_mask_holds_class_ids_at_image_size():
    maps = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])
    mask = to_mask(maps, (0, 15), (3, 8))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.repeat([[0, 0, 0, 0, 15, 15, 15, 15]], 3, axis=0))


def test_ties_go_to_the_first_class():
    assert to_mask(torch.full((2, 1, 1), 0.5), (0, 7), (2, 2)).tolist() == [[0, 0], [0, 0]]
