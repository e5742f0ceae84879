import numpy as np
import pytest
import torch
from pydensecrf.densecrf import DenseCRF2D
from pydensecrf.utils import unary_from_softmax

from pcc.refine import crf, threshold
from pcc.refine.crf import dense_crf, refine
from pcc.runtime.errors import InputError

GAUSSIAN = {"sxy": 1, "weight": 3}
BILATERAL = {"sxy": 20, "srgb": 13, "weight": 4}


@pytest.fixture
def case():
    """Two colours with a little noise, and probabilities that lean the right way but are noisy too."""
    rng = np.random.default_rng(0)
    right = np.arange(16)[None, :] >= 8
    image = np.where(right[..., None], 180, 60) + rng.integers(-10, 11, (12, 16, 3))
    scores = np.stack([~right, right, np.zeros_like(right)] * np.array(0.8)) + rng.normal(0, 0.8, (3, 12, 16))
    scores = np.exp(scores)
    return image.astype(np.uint8), (scores / scores.sum(axis=0)).astype(np.float32)


def mean_field(image, probabilities, iterations, gaussian, bilateral):
    """Krähenbühl and Koltun's algorithm 1 over all pairs of pixels, kernels normalised symmetrically.

    A pixel's message includes its own, as in the authors' code.
    """
    classes, height, width = probabilities.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    position = np.stack([x, y], axis=1).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    kernels = []
    for features, weight in (
        (position / gaussian["sxy"], gaussian["weight"]),
        (np.hstack([position / bilateral["sxy"], colour / bilateral["srgb"]]), bilateral["weight"]),
    ):
        kernel = np.exp(-0.5 * ((features[:, None] - features[None]) ** 2).sum(axis=2))
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        kernels.append(weight * norm[:, None] * kernel * norm[None])
    unary = np.log(np.clip(probabilities.reshape(classes, -1), 1e-5, 1))
    q = np.exp(unary) / np.exp(unary).sum(axis=0)
    for _ in range(iterations):
        logits = unary + sum(q @ kernel for kernel in kernels)
        q = np.exp(logits - logits.max(axis=0))
        q /= q.sum(axis=0)
    return q.reshape(probabilities.shape)


@pytest.mark.parametrize("iterations", [1, 5])
def test_against_all_pairs(case, iterations):
    """The permutohedral lattice approximates the sums over pairs, so agreement is close, not exact."""
    image, probabilities = case
    got = dense_crf(image, probabilities, iterations, GAUSSIAN, BILATERAL)
    expected = mean_field(image, probabilities, iterations, GAUSSIAN, BILATERAL)
    assert np.abs(got - expected).mean() < 0.02
    assert (got.argmax(axis=0) == expected.argmax(axis=0)).mean() > 0.98
    # Each kernel matters: without it the reference is farther away.
    for kernels in (({**GAUSSIAN, "weight": 0}, BILATERAL), (GAUSSIAN, {**BILATERAL, "weight": 0})):
        other = mean_field(image, probabilities, iterations, *kernels)
        assert np.abs(got - other).mean() > 2 * np.abs(got - expected).mean()


def test_against_pydensecrf(case):
    image, probabilities = case
    probabilities[2, :5] = 0
    crf = DenseCRF2D(16, 12, 3)
    crf.setUnaryEnergy(unary_from_softmax(probabilities))
    crf.addPairwiseGaussian(sxy=1, compat=3)
    crf.addPairwiseBilateral(sxy=20, srgb=13, rgbim=image, compat=4)
    expected = np.array(crf.inference(10)).reshape(3, 12, 16)
    got = dense_crf(image, probabilities, 10, GAUSSIAN, BILATERAL, engine="pydensecrf2")
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(dense_crf(image, probabilities, 10, GAUSSIAN, BILATERAL), expected, atol=1e-3)


def test_without_the_compiled_kernel(case, monkeypatch, caplog):
    """pydensecrf2 is used with one warning; asking for the compiled engine is an error."""
    expected = dense_crf(*case, 3, GAUSSIAN, BILATERAL, engine="pydensecrf2")
    monkeypatch.setattr(crf.mean_field, "INSTRUCTIONS", None)
    crf._chosen.cache_clear()
    try:
        for _ in range(2):
            np.testing.assert_array_equal(dense_crf(*case, 3, GAUSSIAN, BILATERAL), expected)
        assert [record.message for record in caplog.records] == [
            "the compiled CRF was not built on installation; using pydensecrf2, about four times slower"
        ]
        with pytest.raises(InputError, match="engine: compiled was not built"):
            dense_crf(*case, 3, GAUSSIAN, BILATERAL, engine="compiled")
    finally:
        crf._chosen.cache_clear()


def test_removes_noise_up_to_the_colour_edge(case):
    image, probabilities = case
    truth = np.broadcast_to(np.arange(16) >= 8, (12, 16))
    refined = dense_crf(image, probabilities, 10, GAUSSIAN, BILATERAL).argmax(axis=0)
    assert (probabilities.argmax(axis=0) == truth).mean() < 0.8
    assert (refined == truth).mean() == 1


def test_probabilities_out(case):
    got = dense_crf(*case, 3, GAUSSIAN, BILATERAL)
    assert got.dtype == np.float32
    assert got.shape == (3, 12, 16)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=1e-5)


def test_memory_layout_and_precision_do_not_matter(case):
    image, probabilities = case
    expected = dense_crf(image, probabilities, 3, GAUSSIAN, BILATERAL)
    views = np.asfortranarray(image), np.asfortranarray(probabilities).astype(np.float64, order="F")
    assert not views[0].flags.c_contiguous
    views[0].setflags(write=False)
    np.testing.assert_allclose(dense_crf(*views, 3, GAUSSIAN, BILATERAL), expected, atol=1e-5)


def test_zero_probability_is_finite(case):
    image, probabilities = case
    probabilities[2] = 0
    refined = dense_crf(image, probabilities, 3, GAUSSIAN, BILATERAL)
    assert np.isfinite(refined).all()
    assert (refined[2] < 1e-3).all()


def test_inputs_are_left_alone(case):
    copies = [array.copy() for array in case]
    dense_crf(*case, 2, GAUSSIAN, BILATERAL)
    for array, copy in zip(case, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_single_class_needs_no_crf(case):
    image, probabilities = case
    assert (dense_crf(image, probabilities[:1], 10, GAUSSIAN, BILATERAL) == np.ones((1, 12, 16))).all()


@pytest.mark.parametrize(
    ("gaussian", "bilateral", "message"),
    [
        ({"sxy": 1, "wieght": 3}, BILATERAL, "CRF.gaussian: unknown setting 'wieght'; allowed: sxy, weight"),
        (GAUSSIAN, {"sxy": 1, "weight": 3}, "CRF.bilateral: setting 'srgb' is missing"),
    ],
)
def test_settings_are_checked_by_name(case, gaussian, bilateral, message):
    with pytest.raises(InputError, match=message):
        dense_crf(*case, 1, gaussian, bilateral)


@pytest.mark.parametrize("engine", ["compiled", "pydensecrf2"])
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"gaussian": {"sxy": 0, "weight": 3}}, "CRF.gaussian.sxy: 0 is not allowed; a number from 0.5 to 8192"),
        ({"gaussian": {"sxy": np.nan, "weight": 3}}, "CRF.gaussian.sxy: nan is not allowed"),
        ({"gaussian": {"sxy": 1e-9, "weight": 3}}, "CRF.gaussian.sxy: 1e-09 is not allowed"),
        ({"gaussian": {"sxy": 3, "weight": -1}}, "CRF.gaussian.weight: -1 is not allowed; a number from 0 to 10000"),
        ({"bilateral": {**BILATERAL, "srgb": -0.0}}, "CRF.bilateral.srgb: -0.0 is not allowed"),
        ({"bilateral": {**BILATERAL, "sxy": np.inf}}, "CRF.bilateral.sxy: inf is not allowed"),
        ({"bilateral": {**BILATERAL, "weight": 1e40}}, "CRF.bilateral.weight: 1e+40 is not allowed"),
        ({"bilateral": {**BILATERAL, "weight": "4"}}, "CRF.bilateral.weight: '4' is not allowed"),
        ({"iterations": -1}, "CRF.iterations: -1 is not allowed; a whole number from 0 to 1000"),
        ({"iterations": 10**9}, "CRF.iterations: 1000000000 is not allowed"),
    ],
)
def test_what_would_end_the_process_is_refused_before_both_engines(case, engine, changes, line):
    settings = {"iterations": 2, "gaussian": GAUSSIAN, "bilateral": BILATERAL, **changes}
    with pytest.raises(InputError) as caught:
        dense_crf(*case, **settings, engine=engine)
    assert [problem.startswith(line) for problem in caught.value.problems] == [True]


def test_refine_takes_maps_as_shares_of_their_sum(case):
    """Twice the size of the maps, any scale: only the shares at a pixel count."""
    image, probabilities = case
    maps = torch.from_numpy(probabilities)
    expected = dense_crf(image, probabilities, 4, GAUSSIAN, BILATERAL).argmax(axis=0)
    for factor in (1, 5):
        refined = refine(image, factor * maps, GAUSSIAN, BILATERAL, iterations=4)
        assert refined.dtype == np.uint8
        np.testing.assert_array_equal(refined, expected)


def test_refine_can_trust_labels_by_a_fixed_amount(case):
    image, probabilities = case
    winners = probabilities.argmax(axis=0)
    trusted = np.where(winners == np.arange(3)[:, None, None], 0.6, 0.2).astype(np.float32)
    expected = dense_crf(image, trusted, 4, GAUSSIAN, BILATERAL).argmax(axis=0)
    maps = torch.from_numpy(probabilities)
    refined = refine(image, maps, GAUSSIAN, BILATERAL, iterations=4, unary="labels", confidence=0.6)
    np.testing.assert_array_equal(refined, expected)
    assert (refine(image, maps[:1], GAUSSIAN, BILATERAL, unary="labels") == 0).all()


def test_a_constant_background_score_decides_what_is_trusted(case):
    """The labels of `threshold`, trusted; the maps' own background does not count."""
    image, probabilities = case
    maps = torch.from_numpy(probabilities)
    labels = threshold.refine(image, maps, 0.3)
    assert 0.1 < (labels == 0).mean() < 0.9
    trusted = np.where(labels == np.arange(3)[:, None, None], 0.7, 0.15).astype(np.float32)
    expected = dense_crf(image, trusted, 4, GAUSSIAN, BILATERAL).argmax(axis=0)
    settings = {"iterations": 4, "unary": "labels", "threshold": 0.3}
    np.testing.assert_array_equal(refine(image, maps, GAUSSIAN, BILATERAL, **settings), expected)
    assert (refine(image, maps[:1], GAUSSIAN, BILATERAL, **settings) == 0).all()


def test_refine_brings_maps_to_the_images_size(case):
    image, _ = case
    left, right = torch.zeros(2, 3, 4)
    left[:, :2], right[:, 2:] = 1, 1
    refined = refine(image, torch.stack([left, right]), GAUSSIAN, BILATERAL)
    np.testing.assert_array_equal(refined, np.broadcast_to(np.arange(16) >= 8, (12, 16)))
