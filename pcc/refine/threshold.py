"""Constant background score, as usual for plain CAMs."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from pcc.maps import background_threshold, to_mask
from pcc.runtime.settings import Fraction


def refine(
    image: UInt8[np.ndarray, "H W 3"], maps: Float[Tensor, "k h w"], threshold: Fraction = 0.4
) -> UInt8[np.ndarray, "H W"]:
    """Argmax channel of each pixel, background (0) where no map exceeds ``threshold``.

    Args:
        image: RGB; only its size is used.
        maps: localization maps, background first.
        threshold: constant background score.
    """
    return to_mask(background_threshold(maps[1:], threshold), range(len(maps)), image.shape[:2])
