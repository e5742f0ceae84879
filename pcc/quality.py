"""How far a pseudo mask may be trusted, from what is known without true masks. Each sign is in [0, 1], 1 at best."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

LOWEST = 0.2  # share of the images that a user is told to look at
FEW = 5  # areas that a group needs for a spread of its own
SPREAD_OF_NORMAL = 1.4826  # standard deviation of a normal distribution whose median absolute deviation is 1

SIGNS = ("refined", "certainty", "plain", "mirrored", "usual_area")
TRUSTED = ("refined", "certainty")  # confidence is their mean (docs/decisions/0011-quality.md)


def shares(
    mask: UInt8[np.ndarray, "H W"], classes: Sequence[int], grid: tuple[int, int]
) -> Float[Tensor, "k h w"]:
    """The share of a cell's pixels that a mask gives to each class; what it leaves open is nobody's."""
    of_class = torch.from_numpy(mask[None] == np.array(classes, dtype=np.uint8)[:, None, None])
    return functional.adaptive_avg_pool2d(of_class.float(), grid)


def certainty(maps: Float[Tensor, "k h w"], where: Float[Tensor, "k h w"]) -> Float[Tensor, "k"]:
    """One less the relative entropy of the classes in a cell, in the mean over each class's cells; NaN without any.

    Args:
        maps: one channel per class that may be there, background too; of any sum.
        where: weight of each cell in the mean of each class.
    """
    shared = maps / maps.sum(0).clamp_min(torch.finfo(maps.dtype).tiny)
    entropy = torch.special.entr(shared).sum(0) / np.log(max(2, len(maps)))
    return ((1 - entropy) * where).sum((-2, -1)) / where.sum((-2, -1))


def usualness(areas: Shaped[np.ndarray, "n"], groups: Sequence[Hashable]) -> Float[np.ndarray, "n"]:
    """``exp(-z² / 2)`` of each area among those of its group: 1 at the median, 0.61 one deviation from it.

    z is taken of log odds, by the median and the median absolute deviation; groups of fewer than five areas are
    compared with all. An empty area is unlike any other: 0.

    Args:
        areas: shares of the image.
        groups: such as the cluster that a class is in.
    """
    found = np.zeros(len(areas))
    some = (areas > 0) & (areas < 1)
    odds = np.log(np.where(some, areas, 0.5)) - np.log1p(-np.where(some, areas, 0.5))
    members = np.array([hash(group) for group in groups])
    for group in set(members[some].tolist()):
        own = some & (members == group)
        among = own if own.sum() >= FEW else some
        middle = np.median(odds[among])
        spread = SPREAD_OF_NORMAL * np.median(np.abs(odds[among] - middle)) or 1.0
        found[own] = np.exp(-(((odds[own] - middle) / spread) ** 2) / 2)
    return found


def trust(
    confidence: Float[np.ndarray, "n"],
    intersection: Integer[np.ndarray, "n"],
    union: Integer[np.ndarray, "n"],
    images: Sequence[Hashable],
) -> dict[str, float | int | None]:
    """How well ``confidence`` tells good masks from bad, seen with the true masks: for a report, never for a choice.

    Args:
        confidence: of each image and class.
        intersection: pixels that its mask and the true one share.
        union: pixels that either has; more than 0.
        images: which image each is of.

    Returns:
        ``masks`` counted; ``spearman``: rank correlation with the IoU, None where nothing varies;
        ``errors_in_lowest_fifth``: share of all wrong pixels in the fifth of the images with the lowest mean
        confidence, 0.2 by chance; ``lost_iou_in_lowest_fifth``: likewise of the sum of 1 - IoU.
    """
    from scipy.stats import spearmanr  # half a second, which stages that only want the signs are spared

    iou = intersection / union
    varies = len(iou) > 1 and np.ptp(iou) > 0 and np.ptp(confidence) > 0
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
    image = np.array([numbers[i] for i in images], dtype=int)
    mean = np.bincount(image, confidence) / np.bincount(image)
    lowest = np.isin(image, np.argsort(mean, kind="stable")[: round(LOWEST * len(mean))])
    return {
        "masks": len(iou),
        "spearman": float(spearmanr(confidence, iou).statistic) if varies else None,
        "errors_in_lowest_fifth": _share(union - intersection, lowest),
        "lost_iou_in_lowest_fifth": _share(1 - iou, lowest),
    }


def _share(values: Shaped[np.ndarray, "n"], chosen: Bool[np.ndarray, "n"]) -> float | None:
    return float(values[chosen].sum() / values.sum()) if values.sum() else None
