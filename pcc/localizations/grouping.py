"""What ways of localization share that group cells by likeness, with features of the method or of a second network."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.errors import call_with
from pcc.localizations import cam
from pcc.maps import resize
from pcc.methods.base import Method
from pcc.models.backbones import Backbone


class Grouping(cam.Localization):
    """The method's maps on the grid of the features that group them.

    Args:
        features: settings of a second, frozen `Backbone` (names from one network, grouping from another); None takes
            the method's own features.
        feature_size: side of the square that the second backbone sees, pixels; None: as the method.
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
    ) -> None:
        super().__init__(method, scales=scales, flip=flip, multiple_of=multiple_of)
        self.backbone = None if features is None else call_with(Backbone, features, "features")
        self.feature_size = feature_size

    def features_and_maps(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B C h w"]]:
        """Features, and the method's maps resampled to their grid."""
        features = self._features(images)
        return features, resize(
            cam.Localization.forward(self, images, labels), (features.shape[2], features.shape[3])
        )

    def _features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Averaged over mirrored views, at scale 1: likeness needs one grid."""
        compute = self.method.encode if self.backbone is None else self.backbone
        if self.feature_size is not None:
            size = (self.feature_size, self.feature_size)
            images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
        grid = compute(images)
        return (grid + compute(images.flip(-1)).flip(-1)) / 2 if self.flip else grid
