"""Images as tensors, the way networks take them."""

from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from pcc.data.images import read_image
from pcc.trainable import as_shares


def image_tensor(path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """An image as float RGB in 0..1 [3, H, W], resized bilinearly with antialias where ``size`` (H, W) differs."""
    image = channels_first(read_image(path))
    if size is not None and tuple(image.shape[-2:]) != size:
        image = functional.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
    return as_shares(image.contiguous())


def channels_first(image: np.ndarray) -> torch.Tensor:
    """[3, H, W], its bytes still in the order of [H, W, 3]: so they are resized in less than half the time."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
