"""The compiled kernel against pydensecrf2, and laws that hold for any kernel."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydensecrf.densecrf import DenseCRF2D

from pcc import mean_field
from pcc.mean_field import Appearance, Smoothness, infer
from pcc.runtime.errors import InputError

pytestmark = pytest.mark.skipif(
    mean_field.INSTRUCTIONS is None, reason="pcc.mean_field was not compiled on installation"
)

SMOOTHNESS, APPEARANCE = Smoothness(3, 3), Appearance(50, 5, 10)


def photo(height, width, seed=0):
    """Shaded areas with an edge between them, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    shade = 80 + 90 * (x > width * 0.4 + y * 0.3) + 0.2 * y
    return (shade[..., None] + rng.normal(0, 6, (height, width, 3))).clip(0, 255).astype(np.uint8)


def energies(labels, height, width, seed=1):
    """Blobs that are smooth, as maps are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centres = rng.uniform(0, 1, (labels, 2)) * (height, width)
    distance = ((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2) / (0.1 * height * width + 1)
    values = distance + rng.normal(0, 0.2, distance.shape)
    return (values - values.min()).astype(np.float32)


def theirs(image, given, iterations, smoothness, appearance):
    labels, height, width = given.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(given.reshape(labels, -1).copy())
    crf.addPairwiseGaussian(sxy=smoothness.xy, compat=smoothness.weight)
    crf.addPairwiseBilateral(sxy=appearance.xy, srgb=appearance.rgb, rgbim=image.copy(), compat=appearance.weight)
    return np.array(crf.inference(iterations)).reshape(given.shape)


@pytest.mark.parametrize("labels", [2, 3, 4, 5, 8, 9, 16, 21, 24, 25, 32, 33, 48, 64, 81, 96, 128, 129, 192, 255])
def test_against_pydensecrf_for_every_padding(labels):
    image, given = photo(45, 61), energies(labels, 45, 61)
    got, expected = (infer(image, given, 5, SMOOTHNESS, APPEARANCE), theirs(image, given, 5, SMOOTHNESS, APPEARANCE))
    assert (got.argmax(0) == expected.argmax(0)).mean() > 0.999
    assert np.abs(got - expected).mean() < 1e-4


@pytest.mark.parametrize("iterations", [0, 1, 2, 10])
@pytest.mark.parametrize(
    ("smoothness", "appearance"),
    [
        (SMOOTHNESS, APPEARANCE),
        (Smoothness(1, 3), Appearance(80, 13, 10)),  # IRN's
        (Smoothness(1.3, 0), Appearance(7, 40, 2.5)),
        (Smoothness(3, 3), Appearance(67, 3, -0.5)),
        (Smoothness(0.01, 1), Appearance(0.5, 0.01, 1)),  # every pixel alone
        (Smoothness(1e5, 1), Appearance(1e5, 1e5, 1)),  # all pixels alike
    ],
)
def test_against_pydensecrf_for_many_kernels(smoothness, appearance, iterations):
    image, given = photo(70, 100), energies(4, 70, 100)
    got, expected = (
        infer(image, given, iterations, smoothness, appearance),
        theirs(image, given, iterations, smoothness, appearance),
    )
    assert (got.argmax(0) == expected.argmax(0)).mean() > 0.999
    assert np.abs(got - expected).mean() < 1e-3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 4), st.integers(0, 2**31))
def test_probabilities_whatever_the_size(height, width, labels, iterations, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    given = rng.uniform(0, 11.5, (labels, height, width)).astype(np.float32)
    got = infer(
        image,
        given,
        iterations,
        Smoothness(rng.uniform(0.2, 9), 3),
        Appearance(rng.uniform(1, 90), rng.uniform(1, 90), 10),
    )
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)
    assert got.min() >= 0


def test_the_order_of_labels_does_not_matter():
    image, given = photo(30, 41), energies(7, 30, 41)
    order = np.random.default_rng(0).permutation(7)
    expected = infer(image, given, 5, SMOOTHNESS, APPEARANCE)[order]
    np.testing.assert_allclose(infer(image, given[order], 5, SMOOTHNESS, APPEARANCE), expected, atol=1e-5)


def test_runs_repeat_to_the_bit_and_beside_each_other():
    cases = [(photo(60, 80, n), energies(3 + n, 60, 80, n)) for n in range(4)]
    alone = [infer(image, given, 5, SMOOTHNESS, APPEARANCE) for image, given in cases]
    beside = [None] * len(cases)

    def work(number):
        beside[number] = infer(*cases[number], 5, SMOOTHNESS, APPEARANCE)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(cases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, got in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(got, expected)


ENDLESS = """
import os, sys, threading
import numpy as np
from pcc.mean_field import kernel

image, given = np.zeros((30, 40, 3), np.uint8), np.zeros((3, 30, 40), np.float32)
arguments = (image, given, np.empty_like(given), 3, 30, 40, (3.0, 3.0), (50.0, 5.0, 10.0), 2**31 - 1)
inside = threading.Event()

def work():
    inside.set()
    kernel.infer(*arguments)

sys.setswitchinterval(3600)  # nobody takes the lock away: the kernel has to let go of it
threading.Thread(target=work, daemon=True).start()
inside.wait()
print("meanwhile", flush=True)
os._exit(0)
"""


def test_other_threads_run_meanwhile():
    """The kernel would take days, so whatever is said is said meanwhile."""
    command = [sys.executable, "-c", ENDLESS]
    assert subprocess.run(command, check=True, capture_output=True, timeout=120).stdout == b"meanwhile\n"


def test_what_is_given_stays_as_it_is():
    image, given = photo(20, 30), energies(3, 20, 30)
    before = image.copy(), given.copy()
    infer(image, given, 3, SMOOTHNESS, APPEARANCE)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(given, before[1])


@pytest.mark.parametrize(
    ("smoothness", "appearance", "names"),
    [
        (Smoothness(0, 3), APPEARANCE, "gaussian: sxy"),
        (Smoothness(3, 3), Appearance(-1, 5, 10), "bilateral: sxy"),
        (Smoothness(3, 3), Appearance(50, 1e-9, 10), "bilateral: srgb"),
        (Smoothness(3, 3), Appearance(50, float("nan"), 10), "bilateral: srgb"),
    ],
)
def test_a_deviation_that_cannot_be(smoothness, appearance, names):
    with pytest.raises(InputError, match=f"CRF {names}"):
        infer(photo(9, 9), energies(2, 9, 9), 1, smoothness, appearance)


def test_buffers_of_a_wrong_size():
    image, given = photo(9, 9), energies(2, 9, 9)
    arguments = (2, 9, 9, tuple(map(float, SMOOTHNESS)), tuple(map(float, APPEARANCE)), 1)
    with pytest.raises(ValueError, match="image has 216 bytes instead of 243"):
        mean_field.kernel.infer(image[:8].copy(), given, np.empty_like(given), *arguments)
    with pytest.raises(ValueError, match="energies"):
        mean_field.kernel.infer(image, given[:1].copy(), np.empty_like(given), *arguments)
    with pytest.raises(ValueError, match="no CRF of 300 labels"):
        mean_field.kernel.infer(image, given, np.empty_like(given), 300, *arguments[1:])
    with pytest.raises(BufferError):
        mean_field.kernel.infer(image, given, given.tobytes(), *arguments)
