"""Image-specific class activation maps (Chen et al., CVPR 2022; sipe.md §3) on top of any method's maps."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.localizations.grouping import Grouping
from pcc.maps import normalize_cams
from pcc.methods.base import Method
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds


class Localization(Grouping):
    """The method's maps choose seeds; the mean feature of a class's seeds is the image's own prototype of it.

    Args:
        method: a trained method.
        background_discount: factor on the background's soft IoU.
        settings: of `Grouping`.
    """

    def __init__(self, method: Method, *, background_discount: float = 0.5, **settings: Any) -> None:
        super().__init__(method, **settings)
        self.background_discount = background_discount

    def forward(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Rectified cosine to each prototype, every present class to a peak of 1, absent classes zero."""
        features, maps = self.features_and_maps(images, labels)
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None].expand_as(maps)
        seeds = structure_seeds(features, maps, present, self.background_discount)
        return normalize_cams(image_specific_cams(features, prototypes(features, seeds)))
