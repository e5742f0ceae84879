"""A constant background score in place of the method's own: the usual rule for plain CAMs."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from pcc.maps import background_threshold, to_mask


def refine(
    image: UInt8[np.ndarray, "H W 3"], maps: Float[Tensor, "k h w"], threshold: float = 0.4
) -> UInt8[np.ndarray, "H W"]:
    """Channel number of the strongest map where one exceeds ``threshold``, else 0 (background)."""
    return to_mask(background_threshold(maps[1:], threshold), range(len(maps)), image.shape[:2])
