"""Images as tensors, the way networks take them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from pcc.trainable import to_unit_range


def image_tensor(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int] | None = None) -> Float[Tensor, "3 _ _"]:
    """An image as float RGB in 0..1, resized bilinearly with antialiasing where ``size`` (height, width) differs.

    Examples:
        >>> image_tensor(np.full((4, 6, 3), 255, np.uint8), (2, 3)).shape
        torch.Size([3, 2, 3])
    """
    tensor = channels_first(image)
    if size is not None and tuple(tensor.shape[-2:]) != size:
        tensor = functional.resize(tensor, list(size), InterpolationMode.BILINEAR, antialias=True)
    return to_unit_range(tensor.contiguous())


def channels_first(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[Tensor, "3 H W"]:
    """[3, H, W], its bytes still in the order of [H, W, 3]: so they are resized in less than half the time."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
