"""A linear classifier in which classes of a cluster share a part of their weights (docs/decisions/0020)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ClusteredClassifier(nn.Module):
    """Class weights ``w_k + T_c(k) + T_root``: T_c is shared by the members of cluster c, T_root by all classes.

    Both start at zero, so a new classifier is an ordinary linear one. Background (class 0) is in no cluster and has
    no root. The sum is folded: a forward pass costs what it costs without clusters.

    A cluster of one shares with nobody, and one of all classes is the root: neither has a T_c of its own.

    Args:
        dim: channels of the input.
        num_classes: background included.
        clusters: vector indices of the members of each cluster (class id - 1).
        root: whether all foreground classes share a part too; not used without ``clusters``.
        own: whether clusters have a learned T_c; otherwise only `forward`'s ``shared`` distinguishes clusters.
    """

    members: Float[Tensor, "C m"]
    foreground: Float[Tensor, "C 1"]

    def __init__(
        self, dim: int, num_classes: int, clusters: Sequence[Sequence[int]], *, root: bool = True, own: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(num_classes, dim), std=0.05))
        several = [c for c in clusters if own and 1 < len(c) < num_classes - 1]
        everything = any(len(c) == num_classes - 1 > 1 for c in clusters)
        self.tokens = nn.Parameter(torch.zeros(len(several), dim)) if several else None
        self.root = nn.Parameter(torch.zeros(1, dim)) if clusters and (root or (own and everything)) else None
        self.register_buffer("members", _membership(several, num_classes), persistent=False)
        self.register_buffer("foreground", (torch.arange(num_classes) > 0).float()[:, None], persistent=False)

    def folded(self) -> Float[Tensor, "C D"]:
        """The class weights, shared parts included."""
        weight: Tensor = self.weight
        if self.tokens is not None:
            weight = weight + self.members @ self.tokens
        if self.root is not None:
            weight = weight + self.foreground * self.root
        return weight

    def shared_parameters(self) -> list[nn.Parameter]:
        """What clusters add to a linear classifier."""
        return [p for p in (self.tokens, self.root) if p is not None]

    def forward(
        self, grid: Float[Tensor, "B D h w"], shared: Float[Tensor, "B C D"] | None = None
    ) -> Float[Tensor, "B C h w"]:
        """Logits of each cell.

        Args:
            grid: features.
            shared: what each image adds to the class weights.
        """
        weight = self.folded() if shared is None else self.folded() + shared
        # A third of the time of a linear layer on permuted features.
        return torch.matmul(weight, grid.flatten(2)).unflatten(2, grid.shape[2:])


def _membership(clusters: Sequence[Sequence[int]], num_classes: int) -> Float[Tensor, "C m"]:
    members = torch.zeros(num_classes, len(clusters))
    for column, cluster in enumerate(clusters):
        members[[1 + k for k in cluster], column] = 1
    return members
