"""Cross-attention from patches to cluster tokens (``fusion: attention``, pcc.md §2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Single-head attention from grid cells to tokens, residual for both.

    What is added to the grid passes a gate that starts at zero, so a new layer leaves the grid as it is. Keys and
    values are computed from the few tokens, so the cost is that of one small linear layer on the grid.

    Args:
        dim: channels of grid and tokens.
        head_dim: channels of queries and keys.
    """

    def __init__(self, dim: int, head_dim: int = 64) -> None:
        super().__init__()
        self.query = nn.Linear(dim, head_dim, bias=False)
        self.key = nn.Linear(dim, head_dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.scale = head_dim**-0.5
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self, grid: Float[Tensor, "B D h w"], tokens: Float[Tensor, "B m D"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B m D"]]:
        """Grid plus gated attended tokens, and tokens plus the attention-weighted mean of the cells."""
        cells = grid.flatten(2).transpose(1, 2)
        weights = (self.query(cells) @ self.key(tokens).transpose(1, 2) * self.scale).softmax(dim=-1)
        attended = (weights @ self.value(tokens)).transpose(1, 2).unflatten(2, grid.shape[2:])
        normalised = weights / weights.sum(dim=1, keepdim=True)
        return grid + self.gate * attended, tokens + torch.einsum("bnm,bnd->bmd", normalised, cells)
