"""Image-specific class activation maps (Chen et al., CVPR 2022; sipe.md §3) on top of any method's maps."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.localizations.grouping import Grouping
from pcc.maps import merge_tta, normalize_cams, resize
from pcc.methods.base import Method
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds
from pcc.runtime.settings import Factor


class Localization(Grouping):
    """Seeds from the method's maps; the prototype of a class is the mean feature of its seeds.

    Seeds and prototypes are computed at each scale; the maps are summed and normalised (sipe.md §6).

    Args:
        method: a trained method.
        background_discount: factor on the background's soft IoU.
        competitors: classes that cells can be assigned to: ``present``, or ``all`` as in SIPE's released code, where
            cells of absent classes seed nothing.
        settings: settings of `Grouping`.
    """

    def __init__(
        self,
        method: Method,
        *,
        background_discount: Factor = 0.5,
        competitors: Literal["present", "all"] = "present",
        **settings: Any,
    ) -> None:
        super().__init__(method, **settings)
        self.background_discount, self.competitors = background_discount, competitors

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Rectified cosine similarity to each prototype, scaled to a peak of 1; absent classes are zero."""
        maps = [self._at_scale(self._scaled(images, scale), labels) for scale in self.scales]
        return normalize_cams(merge_tta(maps, self.grid(images, maps)))

    def _at_scale(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        if self.backbone is None and self.feature_size is None:
            raw, features = self.over_flips(self.method.raw_maps_and_features, images, labels)
        else:
            raw = self.over_flips(self._raw_maps, images, labels)[0]
            features = self.features(images)
        candidates = labels if self.competitors == "present" else torch.ones_like(labels)
        maps = self.method.to_maps(raw, candidates).float()
        features = features.float()
        maps = resize(maps, (features.shape[2], features.shape[3]))
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None].expand_as(maps)
        # Cosine similarities need fp32.
        with torch.autocast(images.device.type, enabled=False):
            seeds = structure_seeds(features, maps, present, self.background_discount)
            grouped = image_specific_cams(features, prototypes(features, seeds))
        self.compare(maps * present, grouped)
        return grouped
