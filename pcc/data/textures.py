"""What the demo's pictures are made of: outlines in polar form, surfaces as periodic patterns, soft noise.

Every function takes coordinates in the object's own turned frame, so that an outline and its surface turn together.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Field = Float[np.ndarray, "H W"]
Outline = Callable[[Field, int], Field]
Surface = Callable[[Field, Field], Field]


def ellipse(angle: Field, variant: int) -> Field:
    """Radius of an ellipse whose short half-axis is 0.75, 0.85 or 0.95 of the long one."""
    short = 0.75 + 0.1 * (variant % 3)
    return short / np.sqrt((short * np.cos(angle)) ** 2 + np.sin(angle) ** 2)


def polygon(angle: Field, variant: int) -> Field:
    """Radius of a regular triangle or square, drawn 15 % larger so that areas compare with the ellipse's."""
    sides = 3 + variant % 2
    sector = 2 * np.pi / sides
    return 1.15 * np.cos(sector / 2) / np.cos(angle % sector - sector / 2)


def petals(angle: Field, variant: int) -> Field:
    """Radius of a flower with 4 to 6 petals."""
    return 0.72 + 0.33 * np.cos((4 + variant % 3) * angle)


def stripes(x: Field, y: Field) -> Field:
    """Parallel bars of period 1, in 0..1."""
    return 0.5 + 0.5 * np.tanh(3 * np.sin(2 * np.pi * x))


def checks(x: Field, y: Field) -> Field:
    """A chessboard of period 1, in 0..1."""
    return 0.5 + 0.5 * np.tanh(6 * np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y))


def dots(x: Field, y: Field) -> Field:
    """Round spots on a square grid of period 1, in 0..1; about a quarter of the surface is spot."""
    return 0.5 + 0.5 * np.tanh(4 * (np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y) - 0.7))


def plain(x: Field, y: Field) -> Field:
    """No pattern at all."""
    return np.full_like(x, 0.5)


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Float[np.ndarray, "H W 3"]:
    """Random colours on a coarse grid of ``cells`` x ``cells``, bilinearly enlarged to ``size``, in 0..1."""
    grid = rng.random((cells + 1, cells + 1, 3))
    position = np.linspace(0, cells, size, endpoint=False)
    low = position.astype(int)
    part = position - low
    rows = grid[low] * (1 - part)[:, None, None] + grid[low + 1] * part[:, None, None]
    return rows[:, low] * (1 - part)[None, :, None] + rows[:, low + 1] * part[None, :, None]
