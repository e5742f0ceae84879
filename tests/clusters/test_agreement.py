"""Partitions compared: against scikit-learn, and against cases worked out by hand."""

from math import log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, mutual_info_score

from pcc.clusters.partition import adjusted_rand_index, co_association, consensus, same, tree, variation_of_information

NAMES = [f"class {i:02d}" for i in range(80)]


def grouped(assignment: np.ndarray) -> list[list[str]]:
    return [[n for n, g in zip(NAMES, assignment, strict=True) if g == i] for i in np.unique(assignment)]


@pytest.fixture
def fifty() -> list[np.ndarray]:
    """One partition of 80 names, perturbed more and more, with the clusters renumbered every time."""
    rng = np.random.default_rng(0)
    base, found = rng.integers(0, 9, 80), []
    for number in range(50):
        moved = rng.random(80) < number / 50
        found.append(rng.permutation(12)[np.where(moved, rng.integers(0, 12, 80), base)])
    return found


def test_fifty_perturbed_partitions_against_scikit_learn(fifty: list[np.ndarray]) -> None:
    for a, b in zip(fifty, fifty[1:] + fifty[:1], strict=True):
        groups = grouped(a), grouped(b)
        score = adjusted_rand_score(a, b)
        assert adjusted_rand_index(*groups) == pytest.approx(score, abs=1e-12)
        assert same(*groups) == (score == 1)
        entropies = sum(mutual_info_score(x, x) for x in (a, b))
        expected = (entropies - 2 * mutual_info_score(a, b)) / np.log(2)
        assert variation_of_information(*groups) == pytest.approx(expected, abs=1e-9)
    assert same(grouped(fifty[0]), grouped(np.random.default_rng(1).permutation(12)[fifty[0]]))


def test_consensus_finds_the_partition_behind_its_perturbations(fifty: list[np.ndarray]) -> None:
    slightly = fifty[:15]  # up to 28 % of the names moved
    found = consensus([grouped(a) for a in slightly])
    assert same(found.clusters, grouped(fifty[0]))
    pairs = [adjusted_rand_score(a, b) for i, a in enumerate(slightly) for b in slightly[:i]]
    assert found.agreement == pytest.approx(np.mean(pairs), abs=1e-12)


def test_by_hand() -> None:
    """{ab|cd} against {a|bcd}: pairs together 2 and 3, shared 1 of 6 (cd)."""
    a, b = [["a", "b"], ["c", "d"]], [["a"], ["b", "c", "d"]]
    assert adjusted_rand_index(a, b) == pytest.approx((1 - 2 * 3 / 6) / ((2 + 3) / 2 - 2 * 3 / 6))
    joint = {"a": 1 / 4, "b": 1 / 4, "cd": 2 / 4}
    of_a, of_b = {"a": 1 / 2, "b": 1 / 2, "cd": 1 / 2}, {"a": 1 / 4, "b": 3 / 4, "cd": 3 / 4}
    expected = -sum(p * (log2(p / of_a[k]) + log2(p / of_b[k])) for k, p in joint.items())
    assert variation_of_information(a, b) == pytest.approx(expected)
    assert co_association([a, b], list("abcd"))[:, 2].tolist() == [0, 0.5, 1, 1]
    assert variation_of_information([["a", "b"]], [["a"], ["b"]]) == 1, "one bit tells two names apart"


partitions = st.lists(st.integers(0, 5), min_size=80, max_size=80).map(lambda a: grouped(np.array(a)))


@given(partitions, partitions, partitions)
def test_variation_of_information_is_a_metric(a: Any, b: Any, c: Any) -> None:
    ab = variation_of_information(a, b)
    assert (ab < 1e-9) == same(a, b)
    assert ab == pytest.approx(variation_of_information(b, a))
    assert variation_of_information(a, c) <= ab + variation_of_information(b, c) + 1e-9
    assert ab <= log2(80) + 1e-9


@given(st.lists(partitions, min_size=1, max_size=5))
def test_co_association_is_a_share_and_symmetric(many: list[Any]) -> None:
    together = co_association(many, NAMES)
    assert (together == together.T).all() and (np.diag(together) == 1).all()
    assert together.min() >= 0 and together.max() <= 1
    assert tree(together).shape == (79, 4)
