"""What a training loop and the things it trains know of each other."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class Batch(NamedTuple):
    """What one step sees; a sample is a batch without the first axis.

    Attributes:
        images: RGB in 0..1, before any model's own normalisation; None when ``features`` stand in for them. Samples may
            give bytes, a quarter of the memory to hand on between processes and to a GPU; `fit` makes `as_shares` of
            them before any model sees them.
        labels: image-level labels, multi-hot; vector index i is class id i+1.
        masks: class ids with 255 ignored, for segmenters.
        features: what ``encode`` gave for the images, where it never changes.
        inside: 1 on pixels of the image, 0 on padding around it; None where nothing is padded.
        progress: share of the phase that is done, 0..1, for what changes on the way; `fit` sets it.
    """

    images: Float[Tensor, "*B 3 H W"] | UInt8[Tensor, "*B 3 H W"] | None
    labels: Float[Tensor, "*B K"]
    masks: UInt8[Tensor, "*B H W"] | None = None
    features: Float[Tensor, "*B D h w"] | None = None
    inside: UInt8[Tensor, "*B H W"] | None = None
    progress: float | None = None


def as_shares(
    images: Float[Tensor, "*B 3 H W"] | UInt8[Tensor, "*B 3 H W"],
) -> Float[Tensor, "*B 3 H W"]:
    """Bytes to 0..1; what is in 0..1 already stays as it is."""
    return images if images.is_floating_point() else images.to(torch.float32).mul_(1 / 255)


@dataclass
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay."""

    parameters: list[nn.Parameter]
    lr_scale: float = 1.0
    weight_decay: float | None = None


@runtime_checkable
class Samples(Protocol):
    """Training images by (epoch, index).

    Attributes:
        views: above 0, the sample of (epoch, index) is that of (epoch mod views, index); 0: every epoch differs.
    """

    views: int

    def __len__(self) -> int: ...
    def __getitem__(self, key: tuple[int, int]) -> Batch: ...


@runtime_checkable
class Trainable(Protocol):
    """What `fit` asks of a module, classifier or segmenter.

    One that has a ``watched`` method is asked after every step for scalars, without gradient, that are worth a curve
    besides its losses.
    """

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """The parameters that ``phase`` trains; all others stay as they are."""

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Named scalar losses, already weighted; their sum is descended."""

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """The part of the forward pass that can be computed once when ``is_encoder_frozen``."""

    def is_encoder_frozen(self, phase: str) -> bool:
        """Whether ``encode`` gives the same all through ``phase``."""
