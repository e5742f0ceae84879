"""Localization maps: normalise, add background, condition on image labels, merge scales, convert to masks."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5


def normalize_cams(logits: Float[Tensor, "*B K h w"]) -> Float[Tensor, "*B K h w"]:
    """``ReLU(z) / (max over the grid + 1e-5)`` per image and class (SIPE, section 3.1).

    A class without a positive logit stays zero everywhere. Gradients flow through the maximum.

    Examples:
        >>> normalize_cams(torch.tensor([[[[-1.0, 2.0]], [[-3.0, -1.0]]]])).round(decimals=2).tolist()
        [[[[0.0, 1.0]], [[0.0, 0.0]]]]
    """
    positive = F.relu(logits)
    return positive / (positive.amax(dim=(-2, -1), keepdim=True) + EPSILON)


def with_background(cams: Float[Tensor, "*B K h w"]) -> Float[Tensor, "*B K+1 h w"]:
    """Prepend the background ``1 - max over the classes`` to normalised foreground maps (SIPE, section 3.1).

    Every nonzero map reduces the background. SIPE passes all K maps, absent classes included; zero the absent
    ones first to count only the present classes.

    Examples:
        >>> with_background(torch.tensor([[[[0.25, 0.0]], [[0.5, 1.0]]]])).tolist()
        [[[[0.5, 0.0]], [[0.25, 0.0]], [[0.5, 1.0]]]]
    """
    return torch.cat([1 - cams.amax(dim=-3, keepdim=True), cams], dim=-3)


def background_threshold(cams: Float[Tensor, "*B K h w"], threshold: int | float) -> Float[Tensor, "*B K+1 h w"]:
    """Prepend a constant background score: a pixel is foreground where a map exceeds it."""
    background = cams.new_full((*cams.shape[:-3], 1, *cams.shape[-2:]), threshold)  # works with 0 classes
    return torch.cat([background, cams], dim=-3)


def condition_on_labels(
    probabilities: Float[Tensor, "B C h w"], labels: Shaped[Tensor, "B C-1"], divide_by_maximum: bool = True
) -> Float[Tensor, "B C h w"]:
    """Restrict class probabilities to the labels of each image (PCC section 4, after ViT-PCM).

    Absent classes become exactly 0; background is always present. Each class is divided by its spatial maximum,
    then channels are renormalised to sum to 1 in each cell. All-zero classes and cells stay zero.

    Args:
        probabilities: channel 0 is background.
        labels: multi-hot foreground labels; index i is channel i + 1.
        divide_by_maximum: scale each class to a peak of 1 before renormalising.

    Examples:
        >>> probabilities = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1)
        >>> condition_on_labels(probabilities, torch.tensor([[1, 0]])).flatten().tolist()
        [0.5, 0.5, 0.0]
    """
    present = F.pad(labels.bool(), (1, 0), value=True)[:, :, None, None]
    kept = torch.where(present, probabilities, 0)
    smallest = torch.finfo(kept.dtype).tiny
    if divide_by_maximum:
        kept = kept / kept.amax(dim=(2, 3), keepdim=True).clamp_min(smallest)
    return kept / kept.sum(dim=1, keepdim=True).clamp_min(smallest)


def resize(maps: Float[Tensor, "B C _ _"], size: tuple[int, int]) -> Float[Tensor, "B C _ _"]:
    """Bilinear resize to (height, width) with ``align_corners=False`` and no antialiasing."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def merge_tta(
    maps: Sequence[Float[Tensor, "B C _ _"]], size: tuple[int, int], reduction: Literal["mean", "sum"] = "mean"
) -> Float[Tensor, "B C _ _"]:
    """Merge the maps of several scales and flips.

    Args:
        maps: one tensor per scale and flip, each on its own grid; flipped maps are already flipped back.
        size: (height, width) of the merged grid.
        reduction: ``mean``, or ``sum`` as in SIPE (normalise afterwards).
    """
    total = sum((resize(m, size) for m in maps[1:]), start=resize(maps[0], size))
    return total / len(maps) if reduction == "mean" else total


def to_mask(maps: Float[Tensor, "k h w"], classes: Sequence[int], size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    """Argmax class id of each pixel.

    Args:
        maps: one channel per entry of ``classes``.
        classes: class id of each channel (0 is background); the first channel wins ties.
        size: (height, width) of the mask, pixels.
    """
    # max().indices equals argmax and is ten times faster on CPUs.
    best = resize(maps[None], size)[0].max(dim=0).indices.cpu().numpy()
    return np.asarray(classes, dtype=np.uint8)[best]


def soft_iou(one: Float[Tensor, "*C h w"], other: Float[Tensor, "*C h w"]) -> Float[Tensor, "*C"]:
    """IoU of soft masks, ``sum(min) / sum(max)`` (Ruzicka similarity); NaN where both are empty."""
    return torch.minimum(one, other).sum((-2, -1)) / torch.maximum(one, other).sum((-2, -1))


def argmax_one_hot(maps: Float[Tensor, "*B C h w"]) -> Float[Tensor, "*B C h w"]:
    """One-hot argmax over classes; the first class wins ties."""
    return F.one_hot(maps.argmax(-3), maps.shape[-3]).movedim(-1, -3).float()
