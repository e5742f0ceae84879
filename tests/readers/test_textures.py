"""The demo's ingredients, as the formulas in their docstrings say."""

import numpy as np
import pytest

from pcc.readers.textures import checks, dots, ellipse, petals, polygon, smooth_noise, stripes

ANGLES = np.linspace(-np.pi, np.pi, 721)[None]


@pytest.mark.parametrize("surface", [stripes, dots, checks])
def test_surfaces_have_period_one_and_both_tones(surface) -> None:
    x, y = np.random.default_rng(0).uniform(-2, 2, (2, 50, 50))
    values = surface(x, y)
    np.testing.assert_allclose(surface(x + 1, y), values, atol=1e-9)
    np.testing.assert_allclose(surface(x, y - 3), values, atol=1e-9)
    assert values.min() >= 0 and values.max() <= 1
    assert (values < 0.1).mean() > 0.1 and (values > 0.9).mean() > 0.1


@pytest.mark.parametrize(("variant", "short"), [(0, 0.7), (1, 0.8), (2, 0.9)])
def test_ellipse_lies_on_its_curve(variant: int, short: float) -> None:
    radius = ellipse(ANGLES, variant)
    x, y = radius * np.cos(ANGLES), radius * np.sin(ANGLES)
    np.testing.assert_allclose(x**2 + (y / short) ** 2, 1, atol=1e-9)


@pytest.mark.parametrize(("variant", "corners"), [(0, 3), (1, 4)])
def test_polygons_have_straight_sides(variant: int, corners: int) -> None:
    """On each side, the distance from the centre along the side's normal is the same everywhere."""
    half = np.pi / corners
    normal = (np.floor(ANGLES / (2 * half)) + 0.5) * 2 * half
    distance = polygon(ANGLES, variant) * np.cos(ANGLES - normal)
    np.testing.assert_allclose(distance, 1.15 * np.cos(half), atol=1e-9)


@pytest.mark.parametrize(("variant", "count"), [(0, 4), (1, 5), (2, 6)])
def test_flowers_have_their_petals(variant: int, count: int) -> None:
    radius = petals(ANGLES[:, :-1], variant)[0]
    peaks = (radius > np.roll(radius, 1)) & (radius >= np.roll(radius, -1))
    assert peaks.sum() == count
    assert radius.max() == pytest.approx(1.08) and radius.min() == pytest.approx(0.48, abs=1e-3)


def test_noise_is_linear_between_its_grid_points() -> None:
    noise = smooth_noise(np.random.default_rng(0), size=40, cells=4)
    assert noise.shape == (40, 40, 3) and noise.min() >= 0 and noise.max() <= 1
    bends = np.abs(np.diff(noise, 2, axis=0)).max(axis=(1, 2))
    assert np.flatnonzero(bends > 1e-9).tolist() == [9, 19, 29], "it bends where cells of 10 pixels meet"
