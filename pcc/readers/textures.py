"""What the demo's pictures are made of: outlines in polar form, surfaces as periodic patterns, soft noise.

Outlines and surfaces are functions of an object's own turned frame, so that the two turn together.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Field = Float[np.ndarray, "H W"]
Outline = Callable[[Field, int], Field]
Surface = Callable[[Field, Field], Field]
Place = Callable[[int, np.random.Generator], Float[np.ndarray, "H W 3"]]


def ellipse(angle: Field, variant: int) -> Field:
    """Radius of an ellipse whose short half-axis is 0.7, 0.8 or 0.9 of the long one."""
    short = 0.7 + 0.1 * (variant % 3)
    return short / np.sqrt((short * np.cos(angle)) ** 2 + np.sin(angle) ** 2)


def polygon(angle: Field, variant: int) -> Field:
    """Radius of a regular triangle or square, drawn 15 % larger so that areas compare with the ellipse's."""
    sector = 2 * np.pi / (3 + variant % 2)
    return 1.15 * np.cos(sector / 2) / np.cos(angle % sector - sector / 2)


def petals(angle: Field, variant: int) -> Field:
    """Radius of a flower with 4, 5 or 6 petals."""
    return 0.78 + 0.3 * np.cos((4 + variant % 3) * angle)


def stripes(x: Field, y: Field) -> Field:  # noqa: ARG001 - one signature for all surfaces
    """Parallel bars of period 1, in 0..1."""
    return 0.5 + 0.5 * np.tanh(4 * np.sin(2 * np.pi * x))


def dots(x: Field, y: Field) -> Field:
    """Round spots on a square grid of period 1, in 0..1."""
    return 0.5 + 0.5 * np.tanh(4 * (np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y) - 0.6))


def checks(x: Field, y: Field) -> Field:
    """A chessboard of period 1, in 0..1."""
    return 0.5 + 0.5 * np.tanh(6 * np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y))


def water(size: int, rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """Blue, with waves lying across, in 0..1."""
    rows = np.arange(size)[:, None] / size
    drift = 0.3 * smooth_noise(rng, size, 3)[..., 0]
    waves = np.sin(2 * np.pi * (rng.uniform(9, 13) * (rows + 0.1 * drift) + rng.random()))
    return np.array([0.12, 0.35, 0.68]) + 0.1 * waves[..., None] + 0.2 * (smooth_noise(rng, size, 3) - 0.5)


def sky(size: int, rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """Pale blue, with white clouds, in 0..1."""
    cloud = smooth_noise(rng, size, 4)[..., :1] ** 2
    return (1 - cloud) * np.array([0.55, 0.75, 0.95]) + cloud * np.array([0.97, 0.97, 0.97])


def meadow(size: int, rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """Green, with upright blades, in 0..1."""
    blades = np.repeat(rng.random((1, size)), size, axis=0) + 0.5 * smooth_noise(rng, size, size // 4)[..., 0]
    return np.array([0.18, 0.42, 0.1]) + 0.25 * (blades[..., None] - 0.6) + 0.2 * (smooth_noise(rng, size, 3) - 0.5)


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Float[np.ndarray, "H W 3"]:
    """Random colours on a coarse grid of ``cells`` × ``cells``, bilinearly enlarged to ``size``, in 0..1."""
    grid = rng.random((cells + 1, cells + 1, 3))
    position = np.linspace(0, cells, size, endpoint=False)
    low = position.astype(int)
    part = position - low
    rows = grid[low] * (1 - part)[:, None, None] + grid[low + 1] * part[:, None, None]
    return rows[:, low] * (1 - part)[None, :, None] + rows[:, low + 1] * part[None, :, None]
