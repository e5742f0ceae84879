"""Confident pseudo masks: uncertain pixels are ignored (IRN section 5.1; sipe.md §7.1)."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pcc.refine import crf
from pcc.runtime.settings import Factor, Iterations

UNSURE = 255


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k h w"],
    gaussian: crf.Gaussian,
    bilateral: crf.Bilateral,
    iterations: Iterations = 10,
    confidence: crf.Confidence = 0.7,
    background_factor: Factor = 0.5,
    engine: crf.Engine = "auto",
) -> UInt8[np.ndarray, "H W"]:
    """Channel of each pixel where two CRFs agree, else 255.

    One CRF starts from the argmax of the maps, the other from the argmax with an attenuated background. Foreground of
    the first is confident foreground; background of the second is confident background.

    Args:
        image: RGB.
        maps: non-negative scores, background first.
        gaussian: smoothness kernel: ``sxy`` (pixels) and ``weight``.
        bilateral: appearance kernel: ``sxy`` (pixels), ``srgb`` (0-255 colour units) and ``weight``.
        iterations: mean-field iterations.
        confidence: probability of the argmax in the unary term of the CRF.
        background_factor: factor on the background map for the second CRF.
        engine: ``compiled``, ``pydensecrf2``, or ``auto``: compiled if built.
    """
    attenuated = torch.cat([background_factor * maps[:1], maps[1:]])
    foreground, background = (
        crf.refine(image, given, gaussian, bilateral, iterations, "labels", confidence=confidence, engine=engine)
        for given in (maps, attenuated)
    )
    return np.where((foreground == 0) & (background != 0), np.uint8(UNSURE), foreground)
