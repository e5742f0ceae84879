"""The strongest map wins: no refinement."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from pcc.maps import to_mask


def refine(image: UInt8[np.ndarray, "H W 3"], maps: Float[Tensor, "k h w"]) -> UInt8[np.ndarray, "H W"]:
    """Channel number of the strongest map at every pixel, maps brought to the image's size."""
    return to_mask(maps, range(len(maps)), image.shape[:2])
