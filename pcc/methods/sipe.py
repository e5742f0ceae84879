"""The consistency loss of SIPE (Chen et al., CVPR 2022, arXiv 2203.02909).

The method that trains with it is not in this release.
Seeds, prototypes and image-specific CAMs are in `pcc.prototypes`: any method's localization can use them.
"""

from jaxtyping import Float
from torch import Tensor

from pcc.maps import normalize_cams


def consistency_loss(
    maps: Float[Tensor, "B C h w"], image_specific: Float[Tensor, "B C h w"]
) -> Float[Tensor, ""]:
    """General-specific consistency (SIPE section 3.3): mean absolute difference over images, channels, cells.

    The gradient reaches both sides. Absent classes are zero in both and count in the mean.

    Args:
        maps: the classifier's maps with background, zero where a class is absent or the image padded.
        image_specific: un-normalised image-specific CAMs; each is brought to a peak of 1 here.
    """
    return (maps - normalize_cams(image_specific)).abs().mean()
