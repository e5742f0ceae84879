"""What a training loop and the things it trains know of each other."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pcc.runtime.errors import InputError


class Batch(NamedTuple):
    """What one step sees; a sample is a batch without the first axis.

    Attributes:
        images: RGB in 0..1, before any model's own normalisation; None when ``features`` stand in for them. Samples may
            be bytes, which take a quarter of the memory between processes; `fit` applies `to_unit_range` to them.
        labels: image-level labels, multi-hot; vector index i is class id i+1.
        masks: class ids with 255 ignored, for segmenters.
        features: what ``encode`` gave for the images, where it never changes.
        inside: 1 on pixels of the image, 0 on padding around it; None where nothing is padded.
        progress: share of the phase that is done, 0..1, for what changes on the way; `fit` sets it.
        pairs: pairs of an image and one of its labels in an equal part of the whole batch, for means over them where a
            batch is shared among processes or computed in parts; `fit` sets it.
    """

    images: Float[Tensor, "*B 3 H W"] | UInt8[Tensor, "*B 3 H W"] | None
    labels: Float[Tensor, "*B K"]
    masks: UInt8[Tensor, "*B H W"] | None = None
    features: Float[Tensor, "*B D h w"] | None = None
    inside: UInt8[Tensor, "*B H W"] | None = None
    progress: float | None = None
    pairs: float | None = None

    def split(self, parts: int) -> list["Batch"]:
        """Equal parts, in order; ``parts`` divides the number of images."""
        columns = (field.chunk(parts) if isinstance(field, Tensor) else [field] * parts for field in self)
        return [Batch(*values) for values in zip(*columns, strict=True)]


def to_unit_range(images: Float[Tensor, "*B 3 H W"] | UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
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


class Trainable(nn.Module, ABC):
    """What `pcc.training.loop.fit` trains: methods, segmenters, the boundary network."""

    @abstractmethod
    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """The parameters that ``phase`` trains; all others stay as they are."""

    @abstractmethod
    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Named scalar losses, already weighted; training minimizes their sum."""

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """The part of the forward pass that is computed once per image where ``is_encoder_frozen``.

        Raises:
            InputError: there is no such part.
        """
        raise InputError(f"cache_features: {type(self).__name__} has no frozen encoder; set it to false")

    def is_encoder_frozen(self, phase: str) -> bool:
        """Whether ``encode`` stays the same throughout ``phase``."""
        return False

    def watched(self) -> dict[str, Tensor]:
        """Scalars of the last step, without gradient, that are logged beside the losses."""
        return {}
