"""Fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011): compiled, or pydensecrf2 as a fallback."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydensecrf.densecrf import DenseCRF2D
from torch import Tensor

from pcc import mean_field
from pcc.maps import background_threshold, resize
from pcc.mean_field import Appearance, Smoothness
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import Fraction, Iterations, SettingsOf, limits

Engine = Literal["auto", "compiled", "pydensecrf2"]
# Smaller deviations overflow pydensecrf2's 16-bit lattice, which ends the process.
Deviation = Annotated[int | float, limits("pixels", ge=0.5, le=8192)]
Colours = Annotated[int | float, limits("0-255 colour units", ge=0.1, le=10_000)]
KernelWeight = Annotated[int | float, limits(ge=0, le=10_000)]
Confidence = Annotated[float, limits(gt=0, le=1)]
Gaussian = Annotated[Mapping[str, int | float], SettingsOf("pcc.refine.crf:_smoothness")]
Bilateral = Annotated[Mapping[str, int | float], SettingsOf("pcc.refine.crf:_appearance")]

# Zero probabilities would give infinite energies; pydensecrf uses 1e-5 too.
SMALLEST_PROBABILITY = 1e-5


def dense_crf(
    image: UInt8[np.ndarray, "H W 3"],
    probabilities: Float[np.ndarray, "C H W"],
    iterations: Iterations,
    gaussian: Gaussian,
    bilateral: Bilateral,
    engine: Engine = "auto",
) -> Float32[np.ndarray, "C H W"]:
    """CRF post-processing of class probabilities: mean-field inference with Potts potentials.

    Args:
        image: RGB.
        probabilities: one distribution per pixel. Pass present classes only: the cost grows with C.
        iterations: mean-field iterations.
        gaussian: smoothness kernel: ``sxy`` (pixels) and ``weight``.
        bilateral: appearance kernel: ``sxy`` (pixels), ``srgb`` (0-255 colour units) and ``weight``.
        engine: ``compiled`` (`pcc.mean_field`), ``pydensecrf2``, or ``auto``: compiled if built, else pydensecrf2 with
            a warning. Results differ in a few pixels per million.

    Returns:
        Refined probabilities; all ones for a single class.

    Raises:
        InputError: an unknown or missing kernel setting, one out of range, or an engine that is not available.

    Examples:
        >>> image = np.zeros((4, 4, 3), np.uint8)
        >>> probabilities = np.full((2, 4, 4), 0.5)
        >>> probabilities[:, :, :2] = [[[0.9]], [[0.1]]]
        >>> kernels = {"gaussian": {"sxy": 3, "weight": 3}, "bilateral": {"sxy": 50, "srgb": 13, "weight": 10}}
        >>> bool((dense_crf(image, probabilities, iterations=10, **kernels)[0] > 0.9).all())
        True
    """
    num_classes, height, width = probabilities.shape
    # Before both engines: pydensecrf2 checks nothing, and some values end the process.
    given = {"iterations": iterations, "gaussian": gaussian, "bilateral": bilateral}
    call_with(_mean_field, given, "CRF")
    smoothness, appearance = _smoothness(**gaussian), _appearance(**bilateral)
    if num_classes == 1:
        return np.ones((1, height, width), dtype=np.float32)
    energies = probabilities.astype(np.float32).clip(SMALLEST_PROBABILITY, 1.0)
    np.negative(np.log(energies, out=energies), out=energies)
    if _chosen(engine) == "compiled":
        return mean_field.infer(image, energies, iterations, smoothness, appearance)
    crf = DenseCRF2D(width, height, num_classes)
    crf.setUnaryEnergy(np.ascontiguousarray(energies.reshape(num_classes, -1)))
    crf.addPairwiseGaussian(sxy=smoothness.xy, compat=smoothness.weight)
    # pydensecrf needs a contiguous and writable copy.
    colours = np.array(image, order="C")
    crf.addPairwiseBilateral(sxy=appearance.xy, srgb=appearance.rgb, rgbim=colours, compat=appearance.weight)
    return np.array(crf.inference(iterations), dtype=np.float32).reshape(num_classes, height, width)


@cache
def _chosen(engine: Engine) -> Engine:
    """Resolve ``auto``; cached, so that the warning appears once."""
    if mean_field.INSTRUCTIONS is not None:
        return "compiled" if engine == "auto" else engine
    if engine == "compiled":
        raise InputError("CRF engine: compiled was not built on installation; install a C++ compiler and reinstall PCC")
    if engine == "auto":
        logging.getLogger(__name__).warning(
            "the compiled CRF was not built on installation; using pydensecrf2, about four times slower"
        )
    return "pydensecrf2"


def _mean_field(iterations: Iterations, gaussian: Gaussian, bilateral: Bilateral) -> None:
    """Only to be checked against."""


def _smoothness(sxy: Deviation, weight: KernelWeight) -> Smoothness:
    """The kernel on positions.

    Args:
        sxy: standard deviation in pixels.
        weight: weight of the kernel.
    """
    return Smoothness(sxy, weight)


def _appearance(sxy: Deviation, srgb: Colours, weight: KernelWeight) -> Appearance:
    """The kernel on positions and colours.

    Args:
        sxy: standard deviation in pixels.
        srgb: standard deviation in colour units of 0-255.
        weight: weight of the kernel.
    """
    return Appearance(sxy, srgb, weight)


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k h w"],
    gaussian: Gaussian,
    bilateral: Bilateral,
    iterations: Iterations = 10,
    unary: Literal["maps", "labels"] = "maps",
    confidence: Confidence = 0.7,
    threshold: Fraction | None = None,
    engine: Engine = "auto",
) -> UInt8[np.ndarray, "H W"]:
    """Argmax channel of each pixel after CRF post-processing.

    Args:
        image: RGB.
        maps: non-negative scores, background first.
        gaussian: smoothness kernel: ``sxy`` (pixels) and ``weight``.
        bilateral: appearance kernel: ``sxy`` (pixels), ``srgb`` (0-255 colour units) and ``weight``.
        iterations: mean-field iterations.
        unary: probabilities from the ``maps``, resized and normalised to sum 1, or from their argmax with probability
            ``confidence`` (``labels``; sipe.md §7.1).
        confidence: probability of the argmax class; the others share the rest (``labels`` only).
        threshold: constant background score that replaces the background map, as for plain CAMs.
        engine: ``compiled``, ``pydensecrf2``, or ``auto``: compiled if built.
    """
    if threshold is not None:
        maps = background_threshold(maps[1:], threshold)
    scores = resize(maps[None], image.shape[:2])[0].clamp_min(0).numpy()
    if unary == "labels" and len(scores) > 1:
        others = (1 - confidence) / (len(scores) - 1)
        one_hot = scores.argmax(axis=0) == np.arange(len(scores))[:, None, None]
        probabilities = np.where(one_hot, confidence, others)
    else:
        probabilities = (scores + SMALLEST_PROBABILITY) / (scores + SMALLEST_PROBABILITY).sum(axis=0)
    refined = dense_crf(image, probabilities, iterations, gaussian, bilateral, engine)
    return refined.argmax(axis=0).astype(np.uint8)
