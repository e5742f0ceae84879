"""Segmentation metrics: sum counts over images, then compute ratios once."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, UInt8
from numpy.typing import ArrayLike
from torch import Tensor

from pcc.ids import IGNORE

BYTES = 256  # values of uint8, the type of class ids
Counts = Int64[np.ndarray, "C C"]
PerClass = Float[np.ndarray, " C"]
Ids = UInt8[np.ndarray, "*size"]


def confusion_matrix(
    prediction: Integer[np.ndarray | Tensor, "*size"],
    target: Integer[np.ndarray | Tensor, "*size"],
    num_classes: int,
    ignore: int = IGNORE,
) -> Counts:
    """Count pixels by ground-truth class (rows) and predicted class (columns); fastest for uint8.

    Args:
        prediction: class ids 0..num_classes-1.
        target: class ids, or ``ignore``.
        num_classes: background included; at most 255.
        ignore: id of ignored target pixels.

    Raises:
        ValueError: shapes differ, or an id is out of range. ``ignore`` is invalid in a prediction: skipping hard
            pixels would inflate the metrics.

    Examples:
        >>> confusion_matrix(np.array([[0, 1], [1, 1]]), np.array([[0, 1], [0, 255]]), num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    return _checked(prediction, target, num_classes, ignore)[2]


def _checked(
    prediction: Integer[np.ndarray | Tensor, "..."],
    target: Integer[np.ndarray | Tensor, "..."],
    num_classes: int,
    ignore: int,
) -> tuple[Ids, Ids, Counts]:
    """Both as uint8, and their confusion; ids are validated on the histogram, not pixel by pixel."""
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise ValueError(f"prediction is {prediction.shape} but target is {target.shape}; shapes must be equal")
    if not (1 <= num_classes <= IGNORE and 0 <= ignore <= IGNORE):
        raise ValueError(f"{num_classes} classes, ignore id {ignore}; ids must be 0..{IGNORE}")
    for name, ids in (("prediction", prediction), ("target", target)):
        if ids.dtype != np.uint8 and ids.size and not 0 <= ids.min() <= ids.max() < BYTES:
            _refuse(name, ids, num_classes, ignore)
    prediction, target = prediction.astype(np.uint8, copy=False), target.astype(np.uint8, copy=False)
    pairs = _pairs(prediction, target)
    if pairs[:, num_classes:].any():
        _refuse("prediction", prediction, num_classes, ignore)
    pairs[ignore] = 0
    if pairs[num_classes:].any():
        _refuse("target", target, num_classes, ignore)
    return prediction, target, pairs[:num_classes, :num_classes].copy()


def _pairs(prediction: Ids, target: Ids) -> Int64[np.ndarray, "256 256"]:
    """256 x 256 histogram of target (rows) and prediction (columns) values."""
    both = (target.astype(np.uint16) << 8) | prediction
    return np.bincount(both.ravel(), minlength=BYTES**2).reshape(BYTES, BYTES)


def _refuse(name: str, ids: Integer[np.ndarray, "..."], num_classes: int, ignore: int) -> NoReturn:
    wrong = ids[(ids < 0) | (ids >= num_classes)]
    if name == "target":
        wrong = wrong[wrong != ignore]
    raise ValueError(f"{name} holds class id {wrong[0]} ({wrong.size} pixels outside 0..{num_classes - 1})")


def iou(cm: Counts) -> PerClass:
    """Intersection over union of each class; NaN for a class neither present nor predicted.

    Examples:
        >>> iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).tolist()
        [0.75, 0.8, nan]
    """
    return _ratio(np.diag(cm), cm.sum(axis=0) + cm.sum(axis=1) - np.diag(cm))


def mean_iou(cm: Counts, classes: Sequence[int] | None = None) -> float:
    """Mean of `iou` over ``classes`` (default: all with background), ignoring NaN; NaN if all are NaN.

    Examples:
        >>> mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        0.775
    """
    scores = iou(cm) if classes is None else iou(cm)[list(classes)]
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if scores.size else float("nan")


def precision(cm: Counts) -> PerClass:
    """Precision of each class; NaN for a class never predicted."""
    return _ratio(np.diag(cm), cm.sum(axis=0))


def recall(cm: Counts) -> PerClass:
    """Recall of each class; NaN for a class absent from the ground truth."""
    return _ratio(np.diag(cm), cm.sum(axis=1))


def pixel_accuracy(cm: Counts) -> float:
    """Fraction of correct pixels; NaN for an empty matrix."""
    return float(_ratio(np.trace(cm), cm.sum()))


def cluster_confusion(cm: Counts, clusters: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Foreground confused with another foreground class, within and between clusters.

    Args:
        cm: channel 0 background.
        clusters: class ids (1-based) of each cluster; an id outside all clusters is its own cluster.

    Returns:
        (within, between): fractions of the ground-truth foreground pixels; NaN without foreground.
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
    """Intersection and union of each class's boundary regions (Cheng et al., CVPR 2021); sum over images.

    The boundary region of a class is its pixels within chessboard distance d of another class or the image
    border; d is ``dilation_ratio`` times the image diagonal (rounded, at least 1 pixel). Ignored pixels bound
    their neighbours but are not counted.

    Raises:
        ValueError: see `confusion_matrix`.
    """
    prediction, target, _ = _checked(prediction, target, num_classes, ignore)
    distance = max(1, round(dilation_ratio * float(np.hypot(*target.shape))))
    counted = target != ignore
    predicted = np.where(_near_boundary(prediction, distance) & counted, prediction, IGNORE)
    true = np.where(_near_boundary(target, distance) & counted, target, IGNORE)
    pairs = _pairs(predicted, true)
    in_prediction, in_target = pairs.sum(axis=0)[:num_classes], pairs.sum(axis=1)[:num_classes]
    in_both = np.diag(pairs)[:num_classes]
    return np.stack([in_both, in_prediction + in_target - in_both])


def boundary_iou(counts: Int64[np.ndarray, "2 C"]) -> PerClass:
    """Boundary IoU of each class from summed `boundary_counts`; NaN for a class neither present nor predicted."""
    return _ratio(counts[0], counts[1])


def _near_boundary(ids: UInt8[np.ndarray, "H W"], distance: int) -> Bool[np.ndarray, "H W"]:
    """Pixels within ``distance`` of another id or the image border: window minimum != window maximum."""
    side = 2 * distance + 1
    near = np.ones(ids.shape, dtype=bool)
    if min(ids.shape) >= side:
        inside = (slice(distance, -distance),) * 2
        near[inside] = _in_windows(np.minimum, ids, side) != _in_windows(np.maximum, ids, side)
    return near


def _in_windows(extremum: np.ufunc, ids: UInt8[np.ndarray, "H W"], side: int) -> UInt8[np.ndarray, "h w"]:
    """Minimum or maximum of every square window inside the image, by doubling the window width."""
    for _ in ids.shape:
        width = 1
        while width < side:
            step = min(width, side - width)
            ids = extremum(ids[:-step], ids[step:])
            width += step
        ids = ids.T
    return ids


def _ratio(part: ArrayLike, whole: ArrayLike) -> Float[np.ndarray, "..."]:
    """``part / whole``, NaN where ``whole`` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
