"""Fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011), compiled; by pydensecrf2 where that was not built."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydensecrf.densecrf import DenseCRF2D
from torch import Tensor

from pcc import mean_field
from pcc.maps import background_threshold, resize
from pcc.mean_field import Appearance, Smoothness
from pcc.runtime.errors import InputError, call_with

Engine = Literal["auto", "compiled", "pydensecrf2"]

# A zero probability would be an infinite energy; 1e-5 is the floor of pydensecrf's own helper.
SMALLEST_PROBABILITY = 1e-5


def dense_crf(
    image: UInt8[np.ndarray, "H W 3"],
    probabilities: Float[np.ndarray, "C H W"],
    iterations: int,
    gaussian: Mapping[str, int | float],
    bilateral: Mapping[str, int | float],
    engine: Engine = "auto",
) -> Float32[np.ndarray, "C H W"]:
    """Sharpen class probabilities to an image's colour edges by mean-field inference with Potts potentials.

    Args:
        image: RGB.
        probabilities: one distribution per pixel; pass the present classes only, the cost grows with C.
        iterations: mean-field steps.
        gaussian: smoothness kernel: ``sxy`` (pixels) and ``weight``.
        bilateral: appearance kernel: ``sxy`` (pixels), ``srgb`` (0-255 colour units) and ``weight``.
        engine: ``compiled`` is `pcc.mean_field`, ``pydensecrf2`` the package; they differ in some pixels of a million.
            ``auto`` is the first where it is built, else the second, with a line in the log.

    Returns:
        Refined probabilities; all ones where there is a single class.

    Raises:
        InputError: a kernel with an unknown or missing setting; an engine that is not there.
    """
    num_classes, height, width = probabilities.shape
    smoothness = call_with(_smoothness, gaussian, "CRF gaussian")
    appearance = call_with(_appearance, bilateral, "CRF bilateral")
    if num_classes == 1:
        return np.ones((1, height, width), dtype=np.float32)
    energies = probabilities.astype(np.float32).clip(SMALLEST_PROBABILITY, 1.0)
    np.negative(np.log(energies, out=energies), out=energies)
    if _chosen(engine) == "compiled":
        return mean_field.infer(image, energies, iterations, smoothness, appearance)
    crf = DenseCRF2D(width, height, num_classes)
    crf.setUnaryEnergy(np.ascontiguousarray(energies.reshape(num_classes, -1)))
    crf.addPairwiseGaussian(sxy=smoothness.xy, compat=smoothness.weight)
    # A copy: pydensecrf asks for a contiguous and writable buffer.
    colours = np.array(image, order="C")
    crf.addPairwiseBilateral(sxy=appearance.xy, srgb=appearance.rgb, rgbim=colours, compat=appearance.weight)
    return np.array(crf.inference(iterations), dtype=np.float32).reshape(num_classes, height, width)


@cache
def _chosen(engine: Engine) -> Engine:
    """The engine that serves; what there is to say about it is said once."""
    if mean_field.INSTRUCTIONS is not None:
        return "compiled" if engine == "auto" else engine
    if engine == "compiled":
        raise InputError(
            "CRF engine: compiled was not built on installation; install a C++ compiler and PCC again"
        )
    if engine == "auto":
        logging.getLogger(__name__).warning(
            "the compiled CRF was not built on installation: pydensecrf2 serves, some four times slower"
        )
    return "pydensecrf2"


def _smoothness(sxy: int | float, weight: int | float) -> Smoothness:
    return Smoothness(sxy, weight)


def _appearance(sxy: int | float, srgb: int | float, weight: int | float) -> Appearance:
    return Appearance(sxy, srgb, weight)


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k h w"],
    gaussian: Mapping[str, int | float],
    bilateral: Mapping[str, int | float],
    iterations: int = 10,
    unary: Literal["maps", "labels"] = "maps",
    confidence: float = 0.7,
    threshold: float | None = None,
    engine: Engine = "auto",
) -> UInt8[np.ndarray, "H W"]:
    """Channel number of every pixel after the CRF over background and the image's own classes.

    Args:
        image: RGB.
        maps: non-negative scores, background first.
        gaussian: see `dense_crf`.
        bilateral: see `dense_crf`.
        iterations: mean-field steps.
        unary: ``maps`` takes the maps, brought to the image's size and divided by their sum at every pixel, as
            probabilities; ``labels`` takes their arg-max, trusted by ``confidence`` (sipe.md §7.1).
        confidence: probability of the given label; the rest is shared by the others (``labels`` only).
        threshold: a constant background score in place of the maps' own, as for plain CAMs.
        engine: see `dense_crf`.
    """
    if threshold is not None:
        maps = background_threshold(maps[1:], threshold)
    scores = resize(maps[None], image.shape[:2])[0].clamp_min(0).numpy()
    if unary == "labels" and len(scores) > 1:
        others = (1 - confidence) / (len(scores) - 1)
        winners = scores.argmax(axis=0) == np.arange(len(scores))[:, None, None]
        probabilities = np.where(winners, confidence, others)
    else:
        probabilities = (scores + SMALLEST_PROBABILITY) / (scores + SMALLEST_PROBABILITY).sum(axis=0)
    refined = dense_crf(image, probabilities, iterations, gaussian, bilateral, engine)
    return refined.argmax(axis=0).astype(np.uint8)
