"""Image-specific class activation maps (Chen et al., CVPR 2022; sipe.md §3) on top of any method's maps."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.errors import call_with
from pcc.localizations import cam
from pcc.maps import normalize_cams, resize
from pcc.methods.base import Method
from pcc.models.backbones import Backbone
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds


class Localization(cam.Localization):
    """The method's maps choose seeds; their mean feature is the image's own prototype of the class.

    Args:
        features: settings of a second, frozen `Backbone` whose features are grouped (names from one network, grouping
            from another); None groups the method's own.
        feature_size: side of the square that the second backbone sees, pixels; None: as the method.
        background_discount: factor on the background's soft IoU.
    """

    def __init__(
        self,
        method: Method,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        multiple_of: int = 1,
        features: dict[str, Any] | None = None,
        feature_size: int | None = None,
        background_discount: float = 0.5,
    ) -> None:
        super().__init__(method, scales=scales, flip=flip, multiple_of=multiple_of)
        self.backbone = None if features is None else call_with(Backbone, features, "features")
        self.feature_size, self.background_discount = feature_size, background_discount

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        features = self.features(images)
        maps = resize(super().forward(images, labels), (features.shape[2], features.shape[3]))
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None].expand_as(maps)
        seeds = structure_seeds(features, maps, present, self.background_discount)
        return normalize_cams(image_specific_cams(features, prototypes(features, seeds)))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """What is grouped, averaged over mirrored views (at scale 1: prototypes need one grid)."""
        compute = self.method.encode if self.backbone is None else self.backbone
        if self.feature_size is not None:
            size = (self.feature_size, self.feature_size)
            images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
        grid = compute(images)
        return (grid + compute(images.flip(-1)).flip(-1)) / 2 if self.flip else grid
