"""The method's maps, propagated by feature affinity."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pcc.localizations.grouping import Grouping
from pcc.maps import resize
from pcc.methods.base import Method
from pcc.refine.affinity import propagate
from pcc.runtime.settings import Count, Exponent


class Localization(Grouping):
    """Replaces each cell by a mean over all cells, weighted by feature similarity.

    Args:
        method: a trained method.
        power: exponent of the similarity; higher is more selective.
        steps: number of propagation steps.
        settings: settings of `Grouping`.
    """

    def __init__(self, method: Method, *, power: Exponent = 8.0, steps: Count = 1, **settings: Any) -> None:
        super().__init__(method, **settings)
        self.power, self.steps = power, steps

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Propagated maps; absent classes stay zero."""
        features, maps = self.features_and_maps(images, labels)
        pairs = zip(maps, features, strict=True)
        grouped = torch.stack([propagate(m, f, power=self.power, steps=self.steps) for m, f in pairs])
        self.compare(maps, grouped)
        return resize(grouped, self.grid(images, [grouped]))
