from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcc.clusters.partition import consensus, same, validate
from pcc.runtime.errors import InputError

NAMES = ["bird", "boat", "bus", "cat", "chair", "cow", "dog"]
Groups = list[list[str]]


def grouped(assignment: list[int]) -> Groups:
    return [[n for n, g in zip(NAMES, assignment, strict=True) if g == group] for group in sorted(set(assignment))]


partitions = st.lists(st.integers(0, 4), min_size=len(NAMES), max_size=len(NAMES)).map(grouped)


def shuffled(groups: Groups, random: Any) -> Groups:
    mixed = [random.sample(group, len(group)) for group in groups]
    random.shuffle(mixed)
    return mixed


def pairs(groups: Any) -> set[frozenset[str]]:
    """The pairs of names that share a cluster: what a partition is, in another form."""
    return {frozenset(pair) for group in groups for pair in combinations(group, 2)}


@given(partitions, st.randoms(use_true_random=False))
def test_order_and_names_of_clusters_do_not_count(groups: Groups, random: Any) -> None:
    mixed = shuffled(groups, random)
    validate(mixed, NAMES)
    assert same(groups, mixed)
    assert same(groups, [{"name": str(i), "members": group} for i, group in enumerate(mixed)])
    assert same({str(i): group for i, group in enumerate(mixed)}, groups)


@given(partitions, partitions)
def test_same_means_the_same_pairs_share_a_cluster(a: Groups, b: Groups) -> None:
    assert same(a, b) == (pairs(a) == pairs(b))


def test_one_member_clusters_are_legal() -> None:
    validate([[name] for name in NAMES], NAMES)


def test_every_fault_is_listed() -> None:
    with pytest.raises(InputError) as caught:
        validate([["cat", "dog", "cat"], [], ["bird", "dog"], ["Bus"]], ["bird", "bus", "cat", "cow", "dog"])
    assert caught.value.problems == [
        "clusters: cluster 2 is empty; drop it",
        "clusters: 'bus' is missing; put it into one cluster",
        "clusters: 'cow' is missing; put it into one cluster",
        "clusters: 'cat' is given 2 times; keep it in one cluster",
        "clusters: 'dog' is given 2 times; keep it in one cluster",
        "clusters: 'Bus' is unknown; write it as 'bus'",
    ]


@given(partitions, st.sampled_from(NAMES), st.sampled_from(["drop", "repeat", "rename", "empty"]))
def test_any_single_fault_is_found(groups: Groups, name: str, fault: str) -> None:
    home = next(group for group in groups if name in group)
    if fault == "drop":
        home.remove(name)
    elif fault == "repeat":
        groups.append([name])
    elif fault == "rename":
        home[home.index(name)] = "unicorn"
    else:
        groups.append([])
    with pytest.raises(InputError):
        validate(groups, NAMES)


def slow_adjusted_rand(a: Groups, b: Groups) -> float:
    """By counting pairs of names one at a time."""
    in_a, in_b, every = pairs(a), pairs(b), len(NAMES) * (len(NAMES) - 1) / 2
    expected = len(in_a) * len(in_b) / every
    most = (len(in_a) + len(in_b)) / 2
    return 1.0 if most == expected else (len(in_a & in_b) - expected) / (most - expected)


def slow_consensus(many: list[Groups]) -> set[frozenset[str]]:
    """Average linkage in the obvious way, with ties going to the first pair of clusters by name."""
    clusters = [frozenset([name]) for name in NAMES]
    shares = [pairs(groups) for groups in many]

    def near(a: frozenset[str], b: frozenset[str]) -> float:
        return sum(frozenset((x, y)) in found for x in a for y in b for found in shares) / len(a) / len(b) / len(many)

    while len(clusters) > 1:
        a, b = max(combinations(clusters, 2), key=lambda pair: near(*pair))
        if near(a, b) < 0.5:
            break
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
    return set(clusters)


@given(st.lists(partitions, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_consensus_ignores_every_order(many: list[Groups], random: Any) -> None:
    first = consensus(many)
    mixed = [shuffled(groups, random) for groups in random.sample(many, len(many))]
    second = consensus(mixed)
    validate(first.clusters, NAMES)
    assert first.clusters == second.clusters
    assert first.agreement == pytest.approx(second.agreement)


@given(partitions, st.integers(1, 4))
def test_equal_partitions_are_their_own_consensus(groups: Groups, count: int) -> None:
    found, agreement = consensus([groups] * count)
    assert same(found, groups)
    assert agreement == 1


@given(st.lists(partitions, min_size=2, max_size=4))
def test_agreement_equals_a_slow_reference(many: list[Groups]) -> None:
    expected = [slow_adjusted_rand(a, b) for a, b in combinations(many, 2)]
    assert consensus(many).agreement == pytest.approx(sum(expected) / len(expected))


def test_consensus_equals_a_slow_reference() -> None:
    many = [
        [["bird", "cat", "cow", "dog"], ["boat", "bus"], ["chair"]],
        [["bird"], ["cat", "cow", "dog"], ["boat", "bus"], ["chair"]],
        [["bird"], ["cat", "cow", "dog"], ["boat", "bus", "chair"]],
        [["bird"], ["cat", "dog"], ["cow"], ["boat"], ["bus", "chair"]],
    ]
    found = consensus(many).clusters
    # chair is with bus in 2 of 4 but with boat in 1 of 4: too little on average, enough for single linkage
    assert found == [("bird",), ("boat", "bus"), ("cat", "cow", "dog"), ("chair",)]
    assert {frozenset(group) for group in found} == slow_consensus(many)


def test_half_of_the_partitions_is_enough() -> None:
    together, apart = [["a", "b"]], [["a"], ["b"]]
    assert consensus([together, apart]).clusters == [("a", "b")]
    assert consensus([together, apart, apart]).clusters == [("a",), ("b",)]
    assert consensus([[["a"]]]) == ([("a",)], 1.0)


def test_a_consensus_of_nothing_or_of_other_names_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        consensus([])
    with pytest.raises(InputError, match="'c' is unknown"):
        consensus([[["a", "b"]], [["a", "b", "c"]]])
