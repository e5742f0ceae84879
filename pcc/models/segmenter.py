"""Base of the segmenters, their cross-entropy, and loading by name."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pcc.artifacts.networks import WEIGHTS, read_description, rebuilt, without_weights
from pcc.ids import IGNORE
from pcc.runtime.errors import call_with
from pcc.runtime.plugins import load_class
from pcc.trainable import Batch, Trainable


class Segmenter(Trainable):
    """A segmentation network, trained on pseudo or ground-truth masks.

    Attributes:
        multiple_of: image sides must be multiples of this.
    """

    multiple_of = 1

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Logits at the stride of the network, background first."""

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Cross-entropy of the logits against the masks."""
        assert batch.masks is not None and batch.images is not None
        return {"cross_entropy": cross_entropy(self(batch.images), batch.masks)}


def cross_entropy(logits: Float[Tensor, "B C h w"], masks: UInt8[Tensor, "B H W"]) -> Tensor:
    """Mean cross-entropy over valid pixels; logits are resized to the masks.

    Zero, not NaN, if all pixels are ignored.
    """
    logits = functional.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
    return _mean_over_valid(logits, masks)


def cross_entropy_on_grid(logits: Float[Tensor, "B C h w"], masks: UInt8[Tensor, "B H W"]) -> Tensor:
    """`cross_entropy` on the grid of the logits; masks are resized by nearest neighbour (sipe.md §8)."""
    small = functional.interpolate(masks[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0]
    return _mean_over_valid(logits, small.to(torch.uint8))


def _mean_over_valid(logits: Float[Tensor, "B C H W"], masks: UInt8[Tensor, "B H W"]) -> Tensor:
    valid = (masks != IGNORE).sum().clamp(min=1)
    return functional.cross_entropy(logits.float(), masks.long(), ignore_index=IGNORE, reduction="sum") / valid


def build_segmenter(type: str, num_classes: int, model: dict[str, Any], where: str = "model") -> Segmenter:
    """Build the segmenter of module ``pcc.models.{type}``.

    Raises:
        InputError: unknown segmenter or invalid settings.
    """
    network = load_class("pcc.models", type, Segmenter, "segmenters: type")  # type: ignore[type-abstract]
    return call_with(network, model, where, num_classes=num_classes)


def load_segmenter(folder: Path) -> Segmenter:
    """Load a trained segmenter from ``folder``, in evaluation mode."""
    made = read_description(folder, "type", "classes", "model")
    model = without_weights(made["model"])
    return rebuilt(lambda: build_segmenter(made["type"], len(made["classes"]) + 1, model), folder / WEIGHTS)
