"""From an image to its mask by a trained segmenter: views at several scales, mirrored too, their mean, the CRF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pcc.data.images import image_size as own_size
from pcc.data.images import read_image
from pcc.data.tensors import image_tensor
from pcc.refine.crf import dense_crf
from pcc.runtime.errors import call_with
from pcc.runtime.hardware import Precision, autocast, device


@runtime_checkable
class Network(Protocol):
    """What predicts: a `pcc.models.segmenter.Segmenter`, or the same network in another engine."""

    @property
    def multiple_of(self) -> int:
        """What must divide the sides of an image."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits [B, C, h, w] of images [B, 3, H, W], RGB in 0..1."""


@dataclass(frozen=True)
class Views:
    """What a network sees of one image.

    Attributes:
        image_size: side of the square that scale 1 sees, pixels; None keeps the image's own size.
        scales: sizes of the views, as factors.
        flip: whether each view is also seen mirrored.
    """

    image_size: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = True


def class_probabilities(
    network: Network, image: Path, views: Views, precision: Precision = "no"
) -> Float[Tensor, "C H W"]:
    """Mean probability of every class at every pixel of the image, over all views.

    Args:
        network: on `pcc.runtime.hardware.device`.
        image: its file.
        views: scales and mirrored views.
        precision: what the network computes in.

    Raises:
        InputError: the image cannot be read.
    """
    size = own_size(image) if views.image_size is None else (views.image_size, views.image_size)
    total = torch.zeros(())
    for scale in views.scales:
        view = tuple(max(1, round(edge * scale / network.multiple_of)) * network.multiple_of for edge in size)
        images = image_tensor(image, (view[0], view[1]))[None].to(device())
        with torch.inference_mode(), autocast(precision):
            logits = network(torch.cat([images, images.flip(-1)]) if views.flip else images)
            seen = [logits[:1].softmax(1), *([logits[1:].softmax(1).flip(-1)] if views.flip else [])]
            for probabilities in seen:
                total = total + functional.interpolate(
                    probabilities.float().cpu(),
                    own_size(image),
                    mode="bilinear",
                    align_corners=False,
                )
    return total[0] / (len(views.scales) * (1 + views.flip))


def sharpened(
    image: Path, probabilities: Float[Tensor, "C H W"], crf: Mapping[str, Any] | None
) -> Float[np.ndarray, "C H W"]:
    """The probabilities after the CRF of these settings; as they are where there are none.

    Raises:
        InputError: settings that the CRF does not have.
    """
    values = probabilities.numpy()
    if crf is None:
        return values
    return call_with(dense_crf, crf, "prediction.crf", image=read_image(image), probabilities=values)
