"""Mean-field inference in a fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011), compiled.

An optional part: installing the package compiles it where there is a C++ compiler that can, and `INSTRUCTIONS` is None
where it was not. It computes what pydensecrf computes, several times faster (docs/results/speed.md), and lets go of the
interpreter's lock meanwhile. Sources, from the paper's idea down: inference.h, lattice.h, vectors.h, array.h.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from pcc.runtime.errors import InputError

try:
    from pcc.mean_field import kernel
except ImportError:
    kernel = None  # type: ignore[assignment]

# What the kernel runs on here: `avx2`, or `baseline` on other processors; None where it was not built.
INSTRUCTIONS: str | None = None if kernel is None else kernel.INSTRUCTIONS
# Features beyond this leave float32 no digits for where in its simplex a pixel lies.
LARGEST_FEATURE = 2.0**18


class Smoothness(NamedTuple):
    """The kernel on positions: standard deviation in pixels, and weight."""

    xy: float
    weight: float


class Appearance(NamedTuple):
    """The kernel on positions and colours: standard deviations in pixels and in colour units of 0-255, and weight."""

    xy: float
    rgb: float
    weight: float


def infer(
    image: UInt8[np.ndarray, "H W 3"],
    energies: Float32[np.ndarray, "C H W"],
    iterations: int,
    smoothness: Smoothness,
    appearance: Appearance,
) -> Float32[np.ndarray, "C H W"]:
    """Label probabilities after some mean-field steps, for Potts potentials and symmetrically normalised kernels.

    Args:
        image: RGB.
        energies: unary, at most 256 labels.
        iterations: steps; 0 gives the softmax of the negative energies.
        smoothness: kernel on positions.
        appearance: kernel on positions and colours.

    Raises:
        InputError: a standard deviation that is not positive, or too small for the image.
        MemoryError: too little memory for the image.
        RuntimeError: the kernel was not built.
    """
    if kernel is None:
        raise RuntimeError("pcc.mean_field was not compiled on installation")
    labels, height, width = energies.shape
    for name, deviation, largest in (
        ("gaussian: sxy", smoothness.xy, max(height, width)),
        ("bilateral: sxy", appearance.xy, max(height, width)),
        ("bilateral: srgb", appearance.rgb, 255),
    ):
        if not largest / LARGEST_FEATURE < deviation < np.inf:
            raise InputError(f"CRF {name} is {deviation:g}: give at least {largest / LARGEST_FEATURE:.1g}")
    probabilities = np.empty((labels, height, width), dtype=np.float32)
    kernel.infer(
        np.ascontiguousarray(image),
        np.ascontiguousarray(energies),
        probabilities,
        labels,
        height,
        width,
        tuple(map(float, smoothness)),
        tuple(map(float, appearance)),
        iterations,
    )
    return probabilities
