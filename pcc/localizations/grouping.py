"""Base of localizations that group cells by feature similarity."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.localizations import cam
from pcc.maps import argmax_one_hot, resize, soft_iou
from pcc.methods.base import Method
from pcc.models.backbones import Backbone, BackboneSettings
from pcc.runtime.errors import call_with
from pcc.runtime.settings import Pixels


class Grouping(cam.Localization):
    """The method's maps on the grid of the features.

    ``agreements`` also holds ``plain``: IoU of the argmax before and after grouping.

    Args:
        features: settings of a second, frozen `Backbone`; None uses the method's own features.
        feature_size: side of the square input of the second backbone, pixels; None: as for the method.
        settings: settings of `cam.Localization`.
    """

    def __init__(
        self,
        method: Method,
        *,
        features: BackboneSettings | None = None,
        feature_size: Pixels | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(method, **settings)
        self.backbone = None if features is None else call_with(Backbone, features, "features")
        self.feature_size = feature_size

    def features_and_maps(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B C h w"]]:
        """Features, and the method's maps resized to their grid."""
        features = self.features(images)
        return features, resize(cam.Localization.forward(self, images, labels), (features.shape[2], features.shape[3]))

    def compare(self, plain: Float[Tensor, "B C h w"], grouped: Float[Tensor, "B C h w"]) -> None:
        """Record the agreement of maps before and after grouping."""
        self.agreements["plain"] = soft_iou(argmax_one_hot(plain), argmax_one_hot(grouped)).nan_to_num(0.0)

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Grid features at one scale, averaged over flips."""
        compute, patch = self.method.encode, 1
        if self.backbone is not None:
            compute, patch = self.backbone, self.backbone.multiple_of
        size = [self.feature_size or max(1, round(side / patch)) * patch for side in images.shape[-2:]]
        if size != list(images.shape[-2:]):
            images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return self.over_flips(lambda flipped: [compute(flipped)], images)[0]
