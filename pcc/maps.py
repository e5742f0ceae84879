"""Localization maps: normalise, add a background, condition on image labels, merge views, turn into masks."""

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

    A class without a positive logit stays zero everywhere. The maximum is differentiable.
    """
    positive = F.relu(logits)
    return positive / (positive.amax(dim=(-2, -1), keepdim=True) + EPSILON)


def with_background(cams: Float[Tensor, "*B K h w"]) -> Float[Tensor, "*B K+1 h w"]:
    """Put the background ``1 - max over the classes`` in front of normalised foreground maps.

    Which classes take area from the background is the caller's choice. SIPE passes all K maps, so that an
    absent class with one positive logit peaks at 1 and counts too; zero the absent classes first to let only
    the present ones count.
    """
    return torch.cat([1 - cams.amax(dim=-3, keepdim=True), cams], dim=-3)


def background_threshold(
    cams: Float[Tensor, "*B K h w"], threshold: int | float
) -> Float[Tensor, "*B K+1 h w"]:
    """Put a constant background score in front of foreground maps: foreground is where a map exceeds it."""
    background = cams.new_full(
        (*cams.shape[:-3], 1, *cams.shape[-2:]), threshold
    )  # even before no class at all
    return torch.cat([background, cams], dim=-3)


def condition_on_labels(
    probabilities: Float[Tensor, "B C h w"], labels: Shaped[Tensor, "B C-1"], divide_by_maximum: bool = True
) -> Float[Tensor, "B C h w"]:
    """Restrict class probabilities to the classes an image is known to hold (PCC section 4, after ViT-PCM).

    Absent classes become exactly 0 (background always stays), each class is divided by its spatial maximum,
    and the channels are renormalised to sum to 1 at every cell. A class that is zero everywhere stays zero,
    and so does a cell where no present class has any probability.

    Args:
        probabilities: channel 0 is background.
        labels: multi-hot foreground labels; index i is channel i + 1.
        divide_by_maximum: whether to bring every class to a peak of 1 before renormalising.
    """
    present = F.pad(labels.bool(), (1, 0), value=True)[:, :, None, None]
    kept = torch.where(present, probabilities, 0)
    smallest = torch.finfo(kept.dtype).tiny
    if divide_by_maximum:
        kept = kept / kept.amax(dim=(2, 3), keepdim=True).clamp_min(smallest)
    return kept / kept.sum(dim=1, keepdim=True).clamp_min(smallest)


def resize(maps: Float[Tensor, "B C _ _"], size: tuple[int, int]) -> Float[Tensor, "B C _ _"]:
    """Bilinear resize to (height, width), half-pixel centres (``align_corners=False``), no antialias."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def merge_views(
    views: Sequence[Float[Tensor, "B C _ _"]],
    size: tuple[int, int],
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, "B C _ _"]:
    """Merge the maps of one image seen at several scales and mirrored.

    Args:
        views: one tensor per view, each on its own grid; the caller has mirrored flipped views back.
        size: (height, width) of the merged grid.
        reduction: mean keeps probabilities probabilities; sum is SIPE's, to be normalised afterwards.
    """
    total = sum((resize(view, size) for view in views[1:]), start=resize(views[0], size))
    return total / len(views) if reduction == "mean" else total


def to_mask(
    maps: Float[Tensor, "k h w"], classes: Sequence[int], size: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
    """The best class of every pixel.

    Args:
        maps: one channel per class of ``classes``.
        classes: class id (0 background) of each channel; where channels tie, the first wins.
        size: (height, width) in pixels of the mask.
    """
    # Not argmax, which gives the same ten times slower on a CPU.
    best = resize(maps[None], size)[0].max(dim=0).indices.cpu().numpy()
    return np.asarray(classes, dtype=np.uint8)[best]


def soft_iou(one: Float[Tensor, "*C h w"], other: Float[Tensor, "*C h w"]) -> Float[Tensor, "*C"]:
    """Sum of the lesser values over that of the greater (Ruzicka), the IoU of soft masks; NaN where both are empty."""
    return torch.minimum(one, other).sum((-2, -1)) / torch.maximum(one, other).sum((-2, -1))


def winners(maps: Float[Tensor, "*B C h w"]) -> Float[Tensor, "*B C h w"]:
    """1 where a class has the highest value; where classes tie, the first wins."""
    return F.one_hot(maps.argmax(-3), maps.shape[-3]).movedim(-1, -3).float()
