"""Reliability indicators and their evaluation, against values by hand and known properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcc.maps import argmax_one_hot, soft_iou
from pcc.quality import area_typicality, certainty, pixel_fractions, reliability_scores


def test_soft_iou_of_masks_is_their_iou() -> None:
    one, other = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    one[0, :2], other[0, 1:3] = 1, 1
    found = soft_iou(one, other)
    assert found[0] == pytest.approx(4 / 12)
    assert found[1].isnan(), "nothing to compare"


@given(st.integers(0, 2**32 - 1))
def test_soft_iou_is_symmetric_and_sees_no_mirror(seed: int) -> None:
    one, other = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed))
    assert soft_iou(one, one).tolist() == [1, 1, 1]
    torch.testing.assert_close(soft_iou(one, other), soft_iou(other, one))
    torch.testing.assert_close(soft_iou(one.flip(-1), other.flip(-1)), soft_iou(one, other))
    assert ((soft_iou(one, other) >= 0) & (soft_iou(one, other) <= 1)).all()


def test_winners_and_shares_are_parts_of_one() -> None:
    maps = torch.tensor([[[0.2, 0.9]], [[0.2, 0.1]], [[0.1, 0.3]]])
    assert argmax_one_hot(maps).tolist() == [[[1, 1]], [[0, 0]], [[0, 0]]], "the first of a tie"
    assert argmax_one_hot(maps[None]).tolist() == [argmax_one_hot(maps).tolist()]
    mask = np.array([[0, 0, 7, 255], [0, 7, 7, 7]], dtype=np.uint8)
    assert pixel_fractions(mask, (0, 7), (1, 2)).tolist() == [[[0.75, 0]], [[0.25, 0.75]]]


def test_certainty_is_one_less_the_relative_entropy_inside() -> None:
    maps = torch.tensor([[[0.5, 1.0]], [[0.5, 0.0]]])
    inside = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
    assert certainty(maps, inside).tolist() == pytest.approx([1.0, 0.5])
    assert certainty(3 * maps, inside).tolist() == pytest.approx([1.0, 0.5])
    assert certainty(maps, torch.zeros(2, 1, 2)).isnan().all()


def test_usual_areas_by_hand() -> None:
    odds = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # median 0, median absolute deviation 1
    areas = 1 / (1 + np.exp(-odds))
    found = area_typicality(np.append(areas, 0.0), ["a"] * 6)
    z = odds / 1.4826
    assert found == pytest.approx([*np.exp(-(z**2) / 2), 0.0])
    few = area_typicality(np.append(areas, areas[2]), ["a"] * 5 + ["b"])
    assert few[-1] == 1.0, "too few for a spread of their own: compared with all"
    assert area_typicality(np.full(9, 0.3), ["a"] * 9).tolist() == [1.0] * 9, "no spread at all"
    assert area_typicality(np.zeros(0), []).tolist() == []


def test_a_group_is_compared_with_itself() -> None:
    small, large = np.full(6, 0.01) * np.arange(1, 7), 1 - np.full(6, 0.01) * np.arange(1, 7)
    found = area_typicality(np.concatenate([small, large]), ["bottle"] * 6 + ["bus"] * 6)
    assert found[:6] == pytest.approx(area_typicality(small, ["bottle"] * 6))
    assert found.max() > 0.9 and found[6:] == pytest.approx(found[:6])


def test_trust_by_hand() -> None:
    union, shared = np.full(10, 100), np.arange(0, 100, 10)
    images = [f"im{n}" for n in range(10)]
    found = reliability_scores(np.linspace(0.1, 1, 10), shared, union, images)
    assert (found["masks"], found["spearman"]) == (10, pytest.approx(1.0))
    assert found["errors_in_lowest_fifth"] == pytest.approx((100 + 90) / 550)
    assert found["lost_iou_in_lowest_fifth"] == pytest.approx((100 + 90) / 550)
    assert reliability_scores(np.linspace(1, 0.1, 10), shared, union, images)["spearman"] == pytest.approx(-1.0)
    assert reliability_scores(np.full(10, 0.5), shared, union, images)["spearman"] is None
    perfect = reliability_scores(np.linspace(0.1, 1, 10), union, union, images)
    assert perfect["errors_in_lowest_fifth"] is None and not math.isnan(perfect["masks"])
    by_image = reliability_scores(
        np.linspace(0.1, 1, 10), shared, union, [n % 5 for n in range(10)]
    )  # 0 and 5 are of one image
    assert by_image["errors_in_lowest_fifth"] == pytest.approx((100 + 50) / 550)
