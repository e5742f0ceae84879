"""How much each attention map of a ViT counts (WeakTr, Zhu et al., 2023; semples.md §1)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AttentionGate(nn.Module):
    """One weight in 0..1 for every head of every block, from what the heads put out for the image at hand.

    A head's output, pooled over tokens, becomes one number; the numbers of all heads then decide on each other.

    Args:
        heads: blocks times heads.
        width: of a head's output.
        hidden: between the two linear layers that make it a number.
        reduction: how much narrower the layer between all heads is.
        pooling: over the tokens.
    """

    def __init__(
        self,
        heads: int,
        width: int,
        hidden: int = 8,
        reduction: int = 8,
        pooling: Literal["max", "average"] = "max",
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.number = nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, 1))
        narrow = max(1, heads // reduction)
        self.together = nn.Sequential(
            nn.Linear(heads, narrow, bias=False),
            nn.ReLU(),
            nn.Linear(narrow, heads, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, outputs: Float[Tensor, "B LH t d"]) -> Float[Tensor, "B LH"]:
        """The weights of all heads."""
        pooled = outputs.amax(dim=2) if self.pooling == "max" else outputs.mean(dim=2)
        return self.together(self.number(pooled)[..., 0])


def weighted_mean(maps: Float[Tensor, "B LH a b"], weights: Float[Tensor, "B LH"]) -> Float[Tensor, "B a b"]:
    """Mean over the heads of the maps times their weights."""
    return torch.einsum("bhij,bh->bij", maps, weights) / maps.shape[1]
