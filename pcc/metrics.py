"""Scores of masks against truth: counts that add up over images, ratios taken once at the end."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer
from numpy.typing import ArrayLike
from scipy import ndimage
from torch import Tensor

IGNORE = 255
Counts = Int64[np.ndarray, "C C"]
PerClass = Float[np.ndarray, " C"]


def confusion_matrix(
    prediction: Integer[np.ndarray | Tensor, "*size"],
    target: Integer[np.ndarray | Tensor, "*size"],
    num_classes: int,
    ignore: int = IGNORE,
) -> Counts:
    """Count pixels by true class (rows) and predicted class (columns).

    Args:
        prediction: class ids 0..num_classes-1, at every pixel.
        target: class ids, or ``ignore`` where the pixel does not count.
        num_classes: background included.
        ignore: the id of uncounted pixels.

    Raises:
        ValueError: shapes differ, or an id is out of range. A prediction may not abstain, not even with
            ``ignore``: dropping hard pixels would raise the score.
    """
    prediction, target = _checked(prediction, target, num_classes, ignore)
    counted = target != ignore
    pairs = target[counted] * num_classes + prediction[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _checked(
    prediction: Integer[np.ndarray | Tensor, "..."],
    target: Integer[np.ndarray | Tensor, "..."],
    num_classes: int,
    ignore: int,
) -> tuple[Int64[np.ndarray, "*size"], Int64[np.ndarray, "*size"]]:
    prediction, target = np.asarray(prediction, dtype=np.int64), np.asarray(target, dtype=np.int64)
    if prediction.shape != target.shape:
        raise ValueError(f"prediction is {prediction.shape} but target is {target.shape}; sizes must agree")
    for name, ids in (("prediction", prediction), ("target", target[target != ignore])):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            wrong = ids[(ids < 0) | (ids >= num_classes)]
            allowed = f"0..{num_classes - 1}"
            raise ValueError(f"{name} holds class id {wrong[0]} ({wrong.size} pixels outside {allowed})")
    return prediction, target


def iou(cm: Counts) -> PerClass:
    """Intersection over union of each class; NaN for a class neither present nor predicted."""
    return _ratio(np.diag(cm), cm.sum(axis=0) + cm.sum(axis=1) - np.diag(cm))


def mean_iou(cm: Counts, classes: Sequence[int] | None = None) -> float:
    """Mean of `iou` over ``classes`` (default: all, background too) without the NaNs; NaN if none is left."""
    scores = iou(cm) if classes is None else iou(cm)[list(classes)]
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if scores.size else float("nan")


def precision(cm: Counts) -> PerClass:
    """Share of the pixels predicted as each class that are right; NaN for a class never predicted."""
    return _ratio(np.diag(cm), cm.sum(axis=0))


def recall(cm: Counts) -> PerClass:
    """Share of each class's true pixels that are found; NaN for a class not in the truth."""
    return _ratio(np.diag(cm), cm.sum(axis=1))


def pixel_accuracy(cm: Counts) -> float:
    """Share of all counted pixels that are right; NaN without any."""
    return float(_ratio(np.trace(cm), cm.sum()))


def cluster_confusion(cm: Counts, clusters: Sequence[Sequence[int]]) -> tuple[float, float]:
    """How much of the foreground is taken for another foreground class, inside and across clusters.

    Args:
        cm: channel 0 background.
        clusters: class ids (1-based, background in none) of each cluster; an id in none is its own cluster.

    Returns:
        (within, between): shares of the true foreground pixels; the rest is right or taken for background.
        NaN without foreground.
    """
    cluster_of = np.arange(len(cm)) + len(clusters)
    for index, members in enumerate(clusters):
        cluster_of[list(members)] = index
    same = np.equal.outer(cluster_of, cluster_of)[1:, 1:]
    confused = cm[1:, 1:] - np.diag(np.diag(cm)[1:])
    foreground = cm[1:].sum()
    return float(_ratio(confused[same].sum(), foreground)), float(_ratio(confused[~same].sum(), foreground))


def boundary_counts(
    prediction: Integer[np.ndarray | Tensor, "H W"],
    target: Integer[np.ndarray | Tensor, "H W"],
    num_classes: int,
    dilation_ratio: int | float = 0.02,
    ignore: int = IGNORE,
) -> Int64[np.ndarray, "2 C"]:
    """Intersection and union of each class's boundary regions (Cheng et al., CVPR 2021), to be summed.

    A class's boundary region is its pixels at most d from a pixel that is not of the class or outside the
    image, in chessboard distance, with d = ``dilation_ratio`` times the image's diagonal (rounded, at least 1
    pixel). An ignored area bounds the classes next to it and is not counted itself.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    prediction, target = _checked(prediction, target, num_classes, ignore)
    distance = max(1, round(dilation_ratio * float(np.hypot(*target.shape))))
    counted = target != ignore
    predicted = _near_boundary(prediction, distance) & counted
    true = _near_boundary(target, distance) & counted
    shared = predicted & true & (prediction == target)
    in_prediction, in_target, in_both = (
        np.bincount(ids, minlength=num_classes)
        for ids in (prediction[predicted], target[true], target[shared])
    )
    return np.stack([in_both, in_prediction + in_target - in_both])


def boundary_iou(counts: Int64[np.ndarray, "2 C"]) -> PerClass:
    """Boundary IoU of each class from summed `boundary_counts`; NaN if neither present nor predicted."""
    return _ratio(counts[0], counts[1])


def _near_boundary(ids: Int64[np.ndarray, "H W"], distance: int) -> Bool[np.ndarray, "H W"]:
    """Pixels with another id within ``distance``: for all classes at once, as min = max in a pure window."""
    outside = {"size": 2 * distance + 1, "mode": "constant", "cval": -1}
    return ndimage.minimum_filter(ids, **outside) != ndimage.maximum_filter(ids, **outside)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Float[np.ndarray, "..."]:
    """``part / whole``, NaN where ``whole`` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
