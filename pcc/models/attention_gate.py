"""Weights of the attention maps of a ViT (WeakTr, Zhu et al., 2023; semples.md §1)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AttentionGate(nn.Module):
    """One weight in 0..1 per head of each block, computed from the head outputs (squeeze and excitation).

    The output of each head is pooled over tokens and reduced to a number; an MLP over all heads gives the weights.

    Args:
        heads: number of blocks times heads per block.
        width: channels per head.
        hidden: hidden width of the reduction to a number.
        reduction: reduction ratio of the MLP.
        pooling: pooling over tokens.
    """

    def __init__(
        self, heads: int, width: int, hidden: int = 8, reduction: int = 8, pooling: Literal["max", "average"] = "max"
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.number = nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, 1))
        narrow = max(1, heads // reduction)
        self.together = nn.Sequential(
            nn.Linear(heads, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, heads, bias=False), nn.Sigmoid()
        )

    def forward(self, outputs: Float[Tensor, "B LH t d"]) -> Float[Tensor, "B LH"]:
        """Weights of all heads."""
        pooled = outputs.amax(dim=2) if self.pooling == "max" else outputs.mean(dim=2)
        return self.together(self.number(pooled)[..., 0])


def weighted_mean(maps: Float[Tensor, "B LH a b"], weights: Float[Tensor, "B LH"]) -> Float[Tensor, "B a b"]:
    """Mean over heads of the weighted maps."""
    return torch.einsum("bhij,bh->bij", maps, weights) / maps.shape[1]
