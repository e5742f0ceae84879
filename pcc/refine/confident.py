"""Labels only where they are sure, for networks that learn from them (IRN section 5.1; sipe.md §7.1)."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pcc.refine import crf

UNSURE = 255


def refine(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[Tensor, "k h w"],
    gaussian: Mapping[str, int | float],
    bilateral: Mapping[str, int | float],
    iterations: int = 10,
    confidence: float = 0.7,
    background_factor: float = 0.5,
    engine: crf.Engine = "auto",
) -> UInt8[np.ndarray, "H W"]:
    """Channel number where two CRFs agree that there is a class or that there is none, else 255.

    One starts from the maps' arg-max; the other from that with the background pressed down. What the first calls a
    class is one; what even the second calls background is background.

    Args:
        image: RGB.
        maps: non-negative scores, background first.
        gaussian: see `pcc.refine.crf.dense_crf`.
        bilateral: see `pcc.refine.crf.dense_crf`.
        iterations: mean-field steps.
        confidence: probability of the arg-max in the CRF's unary term.
        background_factor: on the background's map, for the second CRF.
        engine: see `pcc.refine.crf.dense_crf`.
    """
    pressed = torch.cat([background_factor * maps[:1], maps[1:]])
    foreground, background = (
        crf.refine(
            image, given, gaussian, bilateral, iterations, "labels", confidence=confidence, engine=engine
        )
        for given in (maps, pressed)
    )
    return np.where((foreground == 0) & (background != 0), np.uint8(UNSURE), foreground)
