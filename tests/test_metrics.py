import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from pcc.metrics import (
    _near_boundary,
    boundary_counts,
    boundary_iou,
    cluster_confusion,
    confusion_matrix,
    iou,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)

C = 4
TARGET_IDS = st.sampled_from([*range(C), 255])
PREDICTIONS = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, C - 1))
TARGETS = hnp.arrays(np.uint8, (5, 6), elements=TARGET_IDS)


def test_by_hand():
    cm = confusion_matrix(np.array([[0, 1, 1], [1, 2, 0]]), np.array([[0, 1, 0], [255, 1, 0]]), 4)
    assert cm.dtype == np.int64
    assert cm.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou(cm), [2 / 3, 1 / 3, 0, math.nan])
    np.testing.assert_allclose(precision(cm), [1, 1 / 2, 0, math.nan])
    np.testing.assert_allclose(recall(cm), [2 / 3, 1 / 2, math.nan, math.nan])
    assert mean_iou(cm) == pytest.approx(1 / 3)
    assert mean_iou(cm, classes=[0, 1]) == pytest.approx(1 / 2)
    assert mean_iou(cm, classes=[1, 3]) == pytest.approx(1 / 3)
    assert pixel_accuracy(cm) == pytest.approx(3 / 5)


def test_nothing_counted():
    cm = confusion_matrix(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), 3)
    assert cm.sum() == 0
    scores = [mean_iou(cm), pixel_accuracy(cm), *iou(cm), *cluster_confusion(cm, [[1, 2]])]
    assert all(map(math.isnan, scores))


@given(PREDICTIONS, TARGETS)
def test_against_torchmetrics(prediction, target):
    tensors = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    cm = confusion_matrix(prediction, target, C)
    np.testing.assert_array_equal(cm, MulticlassConfusionMatrix(C, ignore_index=255)(*tensors))
    np.testing.assert_array_equal(cm, confusion_matrix(*tensors, C))
    scores = iou(cm)
    if len(cm) and not np.isnan(scores).any():
        theirs = MulticlassJaccardIndex(C, average=None, ignore_index=255)(*tensors)
        np.testing.assert_allclose(scores, theirs, rtol=1e-6)
        assert mean_iou(cm) == pytest.approx(theirs.mean().item())


@given(PREDICTIONS, TARGETS, PREDICTIONS, TARGETS)
def test_counts_add_up_over_images(p1, t1, p2, t2):
    both = confusion_matrix(np.concatenate([p1, p2]), np.concatenate([t1, t2]), C)
    np.testing.assert_array_equal(both, confusion_matrix(p1, t1, C) + confusion_matrix(p2, t2, C))


@given(PREDICTIONS, TARGETS, st.permutations(range(C)))
def test_renaming_classes_permutes_scores(prediction, target, names):
    table = np.append(np.array(names, dtype=np.uint8), np.full(256 - C, 255, np.uint8))
    renamed = confusion_matrix(table[prediction], table[target], C)
    original = confusion_matrix(prediction, target, C)
    np.testing.assert_array_equal(renamed[np.ix_(names, names)], original)
    assert mean_iou(renamed) == pytest.approx(mean_iou(original), nan_ok=True)
    np.testing.assert_array_equal(
        boundary_counts(table[prediction], table[target], C)[:, names], boundary_counts(prediction, target, C)
    )


def test_a_prediction_may_not_abstain():
    """Dropping the pixels a prediction gives up on would reward giving up."""
    target = np.array([[0, 0, 1, 1, 1, 1]], dtype=np.uint8)
    abstaining = np.array([[0, 1, 1, 1, 255, 255]], dtype=np.uint8)
    with pytest.raises(ValueError, match=r"prediction holds class id 255 \(2 pixels outside 0..1\)"):
        confusion_matrix(abstaining, target, 2)
    kept = abstaining != 255
    dropped = mean_iou(confusion_matrix(abstaining[kept], target[kept], 2))
    answered = mean_iou(confusion_matrix(np.where(kept, abstaining, 0), target, 2))
    assert dropped == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert answered == pytest.approx((1 / 4 + 2 / 5) / 2)


def test_abstaining_is_refused_under_ignored_truth_too():
    ignored = np.full((1, 2), 255, dtype=np.uint8)
    with pytest.raises(ValueError, match="prediction holds class id 255"):
        confusion_matrix(ignored, ignored, 2)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([[0, 3]], [[0, 1]], "prediction holds class id 3"),
        ([[0, -1]], [[0, 1]], "prediction holds class id -1"),
        ([[0, 1]], [[0, 3]], "target holds class id 3"),
        ([[0, 1]], [[0], [1]], "sizes must agree"),
    ],
)
@pytest.mark.parametrize("count", [confusion_matrix, boundary_counts])
def test_bad_ids_and_sizes(count, prediction, target, message):
    with pytest.raises((ValueError, TypeError)) as raised:  # TypeError: the shape checker, where it is on
        count(np.array(prediction), np.array(target), 3)
    assert message in str(raised.value) or raised.type is not ValueError


def test_ids_that_are_no_bytes_are_told_with_their_number():
    """Ids are counted as bytes: what does not fit must not be taken for what is left of it."""
    target = np.array([[0, 255, 255, 257]])
    with pytest.raises(ValueError, match=r"target holds class id 257 \(1 pixels outside 0..1\)"):
        confusion_matrix(np.zeros((1, 4), dtype=np.int64), target, 2)
    with pytest.raises(ValueError, match=r"prediction holds class id 256 \(1 pixels"):
        confusion_matrix(np.array([[0, 0, 0, 256]]), np.zeros((1, 4), dtype=np.int64), 2)
    with pytest.raises(ValueError, match="300 classes"):
        confusion_matrix(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8), 300)


def test_as_many_classes_as_a_byte_holds_and_another_id_ignored():
    rng = np.random.default_rng(0)
    prediction, target = rng.integers(0, 255, (2, 40, 50))
    expected = np.zeros((255, 255), dtype=int)
    np.add.at(expected, (target.ravel(), prediction.ravel()), 1)
    np.testing.assert_array_equal(confusion_matrix(prediction, target, 255), expected)
    expected[7] = 0
    np.testing.assert_array_equal(confusion_matrix(prediction, target, 255, ignore=7), expected)


def test_cluster_confusion_by_hand():
    cm = np.array([[50, 1, 1, 1], [2, 5, 2, 1], [0, 3, 4, 3], [1, 0, 2, 7]], dtype=np.int64)
    within, between = cluster_confusion(cm, [[1, 2], [3]])
    assert within == pytest.approx((2 + 3) / 30)
    assert between == pytest.approx((1 + 3 + 0 + 2) / 30)
    assert cluster_confusion(cm, [[1, 2, 3]]) == (pytest.approx(11 / 30), 0)
    assert cluster_confusion(cm, []) == (0, pytest.approx(11 / 30))
    assert cluster_confusion(cm, [[2, 1]]) == (within, between), "an unnamed class is its own cluster"


@given(hnp.arrays(np.int64, (5, 5), elements=st.integers(0, 9)))
def test_foreground_is_right_missed_or_confused(cm):
    foreground = cm[1:].sum()
    if foreground:
        right_or_missed = (np.trace(cm[1:, 1:]) + cm[1:, 0].sum()) / foreground
        assert sum(cluster_confusion(cm, [[4, 1], [2]])) + right_or_missed == pytest.approx(1)


def reference_boundary(mask, distance):
    """Cheng et al.: the mask minus its erosion by a 3 x 3 square, repeated; the image's border erodes too."""
    eroded = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=distance)
    return mask & ~eroded[1:-1, 1:-1]


@given(
    hnp.arrays(np.uint8, (9, 12), elements=st.integers(0, 2)),
    hnp.arrays(np.uint8, (9, 12), elements=TARGET_IDS),
    st.sampled_from([0.02, 0.14, 0.2]),
)
def test_boundaries_against_repeated_erosion(prediction, target, ratio):
    # Large areas: single pixels would be boundary whatever the distance.
    prediction[1:8, 2:10], target[2:9, 3:11] = 1, 1
    distance = {0.02: 1, 0.14: 2, 0.2: 3}[ratio]
    expected = []
    for c in range(C):
        edges = [reference_boundary(ids == c, distance) & (target != 255) for ids in (prediction, target)]
        expected.append([(edges[0] & edges[1]).sum(), (edges[0] | edges[1]).sum()])
    np.testing.assert_array_equal(boundary_counts(prediction, target, C, ratio), np.transpose(expected))


@pytest.mark.parametrize("size", [(60, 47), (9, 80), (13, 13), (12, 13), (1, 5)])
@pytest.mark.parametrize("distance", [1, 2, 5, 6, 11])
def test_boundary_regions_against_filters(size, distance):
    """Windows of every width, also of widths that no doubling hits, and images that no window fits in."""
    ids = np.random.default_rng(0).integers(0, 3, size).astype(np.uint8)
    ids[2:40, 3:] = 1
    outside = {"size": 2 * distance + 1, "mode": "constant", "cval": -1}
    least, most = (extreme(ids.astype(int), **outside) for extreme in (ndimage.minimum_filter, ndimage.maximum_filter))
    np.testing.assert_array_equal(_near_boundary(ids, distance), least != most)


def test_boundary_iou_by_hand():
    """A 4 x 4 square in a 6 x 6 image, found one column too far right: rings of 12 pixels sharing 6."""
    target, prediction = np.zeros((2, 8, 9), dtype=np.uint8)
    target[2:6, 2:6] = 1
    prediction[2:6, 3:7] = 1
    counts = boundary_counts(prediction, target, 3)
    # Shared: top and bottom rows 3 pixels each. The vertical edges are at columns 2 and 5 against 3 and 6.
    assert counts[:, 1].tolist() == [6, 18]
    scores = boundary_iou(counts)
    assert scores[1] == pytest.approx(6 / 18)
    assert math.isnan(scores[2])
    assert scores[1] < iou(confusion_matrix(prediction, target, 3))[1], "stricter than IoU on a thin error"


def test_perfect_boundaries():
    mask = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    assert boundary_iou(boundary_counts(mask, mask, 3)).tolist() == [1, 1, 1]
