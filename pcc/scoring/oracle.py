"""Oracle background threshold, selected on ground truth: an upper bound, never a result.

One pass over the images covers all thresholds: a pixel's prediction depends only on its strongest foreground map and on
the number of thresholds that map exceeds.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64, UInt8

from pcc.ids import IGNORE

THRESHOLDS = tuple(step / 20 for step in range(20))


def threshold_counts(
    foreground: Float[np.ndarray, "k H W"],
    classes: Sequence[int],
    target: UInt8[np.ndarray, "H W"],
    num_classes: int,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Int64[np.ndarray, "T1 C C"]:
    """Count pixels by number of exceeded thresholds, ground-truth class, and class of the strongest map.

    Args:
        foreground: foreground maps at the size of ``target``; may be empty.
        classes: class id of each map; the first map wins ties.
        target: ground-truth class ids, 255 for ignored pixels.
        num_classes: background included.
        thresholds: background scores, ascending.
    """
    shape = (len(thresholds) + 1, num_classes, num_classes)
    counted = target != IGNORE
    true = target[counted].astype(np.int64)
    if not len(foreground):
        exceeded, strongest = np.zeros_like(true), np.zeros_like(true)
    else:
        values = foreground[:, counted]
        # Compare in float32, as refinement `threshold` does.
        exceeded = np.searchsorted(np.asarray(thresholds, dtype=values.dtype), values.max(axis=0))
        strongest = np.asarray(classes, dtype=np.int64)[values.argmax(axis=0)]
    cells = np.ravel_multi_index((exceeded, true, strongest), shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


def confusion_by_threshold(counts: Int64[np.ndarray, "T1 C C"]) -> Int64[np.ndarray, "T C C"]:
    """Confusion matrix at each threshold, from summed `threshold_counts`."""
    exceeding = counts[::-1].cumsum(axis=0)[::-1]
    matrices = exceeding[1:].copy()
    matrices[:, :, 0] += exceeding[0].sum(axis=1) - exceeding[1:].sum(axis=2)
    return matrices
