"""The method's maps averaged over cells that look alike: one step of a walk on feature affinities."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pcc.localizations.grouping import Grouping
from pcc.maps import resize
from pcc.methods.base import Method
from pcc.refine.affinity import propagate


class Localization(Grouping):
    """Every cell takes the mean of the maps over all cells, weighted by the likeness of their features to its own.

    Args:
        method: a trained method.
        power: the higher, the more alike two cells must be.
        steps: how often the mean is taken.
        settings: of `Grouping`.
    """

    def __init__(self, method: Method, *, power: float = 8.0, steps: int = 1, **settings: Any) -> None:
        super().__init__(method, **settings)
        self.power, self.steps = power, steps

    def forward(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Means of the method's maps, so absent classes stay zero."""
        features, maps = self.features_and_maps(images, labels)
        pairs = zip(maps, features, strict=True)
        grouped = torch.stack([propagate(m, f, power=self.power, steps=self.steps) for m, f in pairs])
        self.compare(maps, grouped)
        return resize(grouped, self.grid(images, [grouped]))
