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


class Localization(Grouping):
    """The method's maps choose seeds; the mean feature of a class's seeds is the image's own prototype of it.

    Every scale has seeds and prototypes of its own; their maps are added up and normalised (sipe.md §6).

    Args:
        method: a trained method.
        background_discount: factor on the background's soft IoU.
        competitors: classes that cells may be given to: the ``present`` ones, or ``all``, as in SIPE's released code,
            where a cell won by an absent class seeds nothing.
        settings: of `Grouping`.
    """

    def __init__(
        self,
        method: Method,
        *,
        background_discount: float = 0.5,
        competitors: Literal["present", "all"] = "present",
        **settings: Any,
    ) -> None:
        super().__init__(method, **settings)
        self.background_discount, self.competitors = background_discount, competitors

    def forward(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Rectified cosine to each prototype, every present class to a peak of 1, absent classes zero."""
        views = [self._at_scale(self._scaled(images, scale), labels) for scale in self.scales]
        return normalize_cams(merge_tta(views, self.grid(images, views)))

    def _at_scale(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        if self.backbone is None and self.feature_size is None:
            activations, features = self.over_flips(self.method.view, images, labels)
        else:
            activations = self.over_flips(self._activations, images, labels)[0]
            features = self.features(images)
        shown = labels if self.competitors == "present" else torch.ones_like(labels)
        maps = self.method.to_maps(activations, shown).float()
        features = features.float()
        maps = resize(maps, (features.shape[2], features.shape[3]))
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None].expand_as(maps)
        # Cosines and their prototypes lose too much in half precision.
        with torch.autocast(images.device.type, enabled=False):
            seeds = structure_seeds(features, maps, present, self.background_discount)
            grouped = image_specific_cams(features, prototypes(features, seeds))
        self.compare(maps * present, grouped)
        return grouped
