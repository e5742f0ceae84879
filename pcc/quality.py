"""Reliability of pseudo masks without ground truth. Every indicator is in [0, 1]; higher is better."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

LOWEST = 0.2  # fraction of images to review first
MIN_GROUP = 5  # smaller groups use the statistics of all areas
MAD_TO_STD = 1.4826  # for a normal distribution

INDICATORS = ("refined", "certainty", "plain", "mirrored", "usual_area")
CONFIDENCE_INDICATORS = ("refined", "certainty")  # confidence is their mean (docs/decisions/0011-quality.md)


def pixel_fractions(
    mask: UInt8[np.ndarray, "H W"], classes: Sequence[int], grid: tuple[int, int]
) -> Float[Tensor, "k h w"]:
    """Fraction of each cell's pixels that the mask assigns to each class; ignored pixels count for none."""
    one_hot = torch.from_numpy(mask[None] == np.array(classes, dtype=np.uint8)[:, None, None])
    return functional.adaptive_avg_pool2d(one_hot.float(), grid)


def certainty(maps: Float[Tensor, "k h w"], where: Float[Tensor, "k h w"]) -> Float[Tensor, "k"]:
    """1 − normalised entropy of the class distribution, averaged over each class's cells; NaN if it has none.

    Args:
        maps: one channel per present class, background included; need not sum to 1.
        where: weight of each cell in the mean of each class.
    """
    probabilities = maps / maps.sum(0).clamp_min(torch.finfo(maps.dtype).tiny)
    entropy = torch.special.entr(probabilities).sum(0) / np.log(max(2, len(maps)))
    return ((1 - entropy) * where).sum((-2, -1)) / where.sum((-2, -1))


def area_typicality(areas: Shaped[np.ndarray, "n"], groups: Sequence[Hashable]) -> Float[np.ndarray, "n"]:
    """``exp(-z² / 2)`` of each area within its group: 1 at the median, 0.61 one deviation away, 0 if empty.

    z is the robust z-score (median, MAD) of the log odds. Groups of fewer than five areas use the statistics of
    all areas.

    Args:
        areas: fractions of the image.
        groups: group of each area, such as the cluster of its class.
    """
    found = np.zeros(len(areas))
    some = (areas > 0) & (areas < 1)
    odds = np.log(np.where(some, areas, 0.5)) - np.log1p(-np.where(some, areas, 0.5))
    members = np.array([hash(group) for group in groups])
    for group in set(members[some].tolist()):
        own = some & (members == group)
        reference = odds[own if own.sum() >= MIN_GROUP else some]
        median = np.median(reference)
        spread = MAD_TO_STD * np.median(np.abs(reference - median)) or 1.0
        found[own] = np.exp(-(((odds[own] - median) / spread) ** 2) / 2)
    return found


def reliability_scores(
    confidence: Float[np.ndarray, "n"],
    intersection: Integer[np.ndarray, "n"],
    union: Integer[np.ndarray, "n"],
    images: Sequence[Hashable],
) -> dict[str, float | int | None]:
    """Evaluate ``confidence`` against ground truth; for reports only, never for selection.

    Args:
        confidence: of each pseudo mask (one per image and class).
        intersection: pixels shared with the ground-truth mask.
        union: pixels in either mask; more than 0.
        images: image of each pseudo mask.

    Returns:
        ``masks``: their number; ``spearman``: rank correlation with the IoU, None if either is constant;
        ``errors_in_lowest_fifth``: fraction of all wrong pixels in the 20 % of images with the lowest mean
        confidence (0.2 by chance); ``lost_iou_in_lowest_fifth``: the same for the sum of 1 - IoU.
    """
    from scipy.stats import spearmanr  # takes half a second to import

    iou = intersection / union
    varies = len(iou) > 1 and np.ptp(iou) > 0 and np.ptp(confidence) > 0
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
    image = np.array([numbers[i] for i in images], dtype=int)
    mean = np.bincount(image, confidence) / np.bincount(image)
    lowest = np.isin(image, np.argsort(mean, kind="stable")[: round(LOWEST * len(mean))])
    return {
        "masks": len(iou),
        "spearman": float(spearmanr(confidence, iou).statistic) if varies else None,
        "errors_in_lowest_fifth": _fraction(union - intersection, lowest),
        "lost_iou_in_lowest_fifth": _fraction(1 - iou, lowest),
    }


def _fraction(values: Shaped[np.ndarray, "n"], chosen: Bool[np.ndarray, "n"]) -> float | None:
    return float(values[chosen].sum() / values.sum()) if values.sum() else None
