"""Patches query a few tokens once (``fusion: attention``, pcc.md §2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """One head of attention from a grid to tokens, residual on both sides.

    Only the queries are projected on the grid; keys and values are projections of the few tokens, so that the cost is
    that of one small linear layer even on 1280 channels.

    Args:
        dim: channels of grid and tokens.
        head_dim: channels that are compared.
    """

    def __init__(self, dim: int, head_dim: int = 64) -> None:
        super().__init__()
        self.query = nn.Linear(dim, head_dim, bias=False)
        self.key = nn.Linear(dim, head_dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.scale = head_dim**-0.5

    def forward(
        self, grid: Float[Tensor, "B D h w"], tokens: Float[Tensor, "B m D"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B m D"]]:
        """The grid with what its cells took from the tokens, and the tokens with the mean of the cells that took it."""
        cells = grid.flatten(2).transpose(1, 2)
        weights = (self.query(cells) @ self.key(tokens).transpose(1, 2) * self.scale).softmax(dim=-1)
        taken = (weights @ self.value(tokens)).transpose(1, 2).unflatten(2, grid.shape[2:])
        shares = weights / weights.sum(dim=1, keepdim=True)
        return grid + taken, tokens + torch.einsum("bnm,bnd->bmd", shares, cells)
