"""Fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011), on pydensecrf."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydensecrf.densecrf import DenseCRF2D
from torch import Tensor

from pcc.errors import call_with
from pcc.maps import background_threshold, resize

# A zero probability would be an infinite energy; 1e-5 is the floor of pydensecrf's own helper.
SMALLEST_PROBABILITY = 1e-5


def dense_crf(
    image: UInt8[np.ndarray, "H W 3"],
    probabilities: Float[np.ndarray, "C H W"],
    iterations: int,
    gaussian: Mapping[str, int | float],
    bilateral: Mapping[str, int | float],
) -> Float32[np.ndarray, "C H W"]:
    """Sharpen class probabilities to an image's colour edges by mean-field inference with Potts potentials.

    Args:
        image: RGB.
        probabilities: one distribution per pixel; pass the present classes only, the cost grows with C.
        iterations: mean-field steps.
        gaussian: smoothness kernel: ``sxy`` (pixels) and ``weight``.
        bilateral: appearance kernel: ``sxy`` (pixels), ``srgb`` (0-255 colour units) and ``weight``.

    Returns:
        Refined probabilities; all ones where there is a single class.

    Raises:
        InputError: a kernel with an unknown or missing setting.
    """
    num_classes, height, width = probabilities.shape
    if num_classes == 1:
        return np.ones((1, height, width), dtype=np.float32)
    crf = DenseCRF2D(width, height, num_classes)
    energy = -np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1.0))
    crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(num_classes, -1), dtype=np.float32))
    call_with(_add_gaussian, gaussian, "CRF gaussian", crf=crf)
    # A copy: pydensecrf asks for a contiguous and writable buffer.
    call_with(_add_bilateral, bilateral, "CRF bilateral", crf=crf, image=np.array(image, order="C"))
    return np.array(crf.inference(iterations), dtype=np.float32).reshape(num_classes, height, width)


def _add_gaussian(crf: DenseCRF2D, sxy: int | float, weight: int | float) -> None:
    crf.addPairwiseGaussian(sxy=sxy, compat=weight)


def _add_bilateral(
    crf: DenseCRF2D,
    image: UInt8[np.ndarray, "H W 3"],
    sxy: int | float,
    srgb: int | float,
    weight: int | float,
) -> None:
    crf.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=image, compat=weight)


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k h w"],
    gaussian: Mapping[str, int | float],
    bilateral: Mapping[str, int | float],
    iterations: int = 10,
    unary: Literal["maps", "labels"] = "maps",
    confidence: float = 0.7,
    threshold: float | None = None,
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
    return dense_crf(image, probabilities, iterations, gaussian, bilateral).argmax(axis=0).astype(np.uint8)
