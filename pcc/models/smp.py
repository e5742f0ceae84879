"""Segmenters of segmentation-models-pytorch."""

import segmentation_models_pytorch
from jaxtyping import Float
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from pcc.models.segmenter import Segmenter
from pcc.runtime.errors import InputError
from pcc.runtime.settings import Name, PassedOn, Text
from pcc.trainable import ParameterGroup


class SegmentationModels(Segmenter):
    """A segmentation-models-pytorch network.

    Args:
        num_classes: background included.
        architecture: such as ``unet``, ``fpn``, ``deeplabv3plus``, ``segformer``.
        encoder: encoder name; ``tu-`` + name for timm models.
        weights: ``random``, or encoder weights such as ``imagenet`` (downloaded or cached).
        settings: passed to the architecture.

    Raises:
        InputError: an unknown architecture or encoder, or weights that are not available.
    """

    multiple_of = 32  # encoders have stride 32

    def __init__(
        self,
        num_classes: int,
        architecture: Name,
        encoder: Text,
        weights: Text = "random",
        settings: PassedOn | None = None,
    ) -> None:
        super().__init__()
        try:
            self.network = segmentation_models_pytorch.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=None if weights == "random" else weights,
                classes=num_classes,
                **(settings or {}),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"model: segmentation-models-pytorch cannot build {architecture} with {encoder} ({reason})"
            ) from error

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H W"]:
        mean, std = (
            images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        )
        return self.network((images - mean) / std)

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """All parameters."""
        return [ParameterGroup(list(self.network.parameters()))]
