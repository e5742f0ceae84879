"""The one-pass sweep against arg-max with a constant background at every threshold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pcc.scoring.oracle import confusion_by_threshold, threshold_counts


@given(seed=st.integers(0, 2**16), classes=st.sampled_from([(1,), (2, 1), (3, 1, 2), ()]))
def test_sweep_equals_brute_force(seed: int, classes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    thresholds = (0.0, 0.25, 0.3, 0.75)
    # Multiples of 0.05 hit thresholds exactly: there the background, which comes first, wins.
    maps = (rng.integers(0, 21, (len(classes), 5, 6)) / 20).astype(np.float32)
    target = rng.choice(np.array([0, 1, 2, 3, 255], dtype=np.uint8), (5, 6))
    found = confusion_by_threshold(threshold_counts(maps, classes, target, 4, thresholds))
    for threshold, matrix in zip(thresholds, found, strict=True):
        scores = np.concatenate([np.full((1, 5, 6), threshold, dtype=np.float32), maps])
        prediction = np.array([0, *classes])[scores.argmax(axis=0)]
        expected = np.zeros((4, 4), dtype=np.int64)
        for true, guess in zip(target.ravel(), prediction.ravel(), strict=True):
            if true != 255:
                expected[true, guess] += 1
        assert (matrix == expected).all()
