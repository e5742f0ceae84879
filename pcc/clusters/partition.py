"""Partitions of the class names: exact or refused, compared, and merged by consensus.

Wherever a partition is taken it may be a list of member lists, a list of ``{"name": ..., "members": [...]}``
as in clusters.json, or a mapping from cluster name to members. Names of clusters never count.
"""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from pcc.runtime.errors import InputError

Partition = Sequence[Sequence[str]] | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[str]]
CUT = 0.5  # names that are together in half of the partitions, on average, stay together (pcc.md §1)
LONGEST_SHOWN = 80
TIE = 1e-9  # pairs exactly at the threshold are together in spite of rounding


class Consensus(NamedTuple):
    """What several partitions of the same names agree on.

    Attributes:
        clusters: the consensus partition: members sorted, clusters by their first member.
        agreement: mean pairwise adjusted Rand index of the given partitions; 1 when they are all the same.
    """

    clusters: list[tuple[str, ...]]
    agreement: float


def members(clusters: Partition) -> list[tuple[str, ...]]:
    """The members of each cluster, in the order given."""
    if isinstance(clusters, Mapping):
        return [tuple(names) for names in clusters.values()]
    return [tuple(c["members"]) if isinstance(c, Mapping) else tuple(c) for c in clusters]


def validate(clusters: Partition, names: Sequence[str]) -> None:
    """Check that ``clusters`` holds every one of ``names`` exactly once; one-member clusters are legal.

    Raises:
        InputError: one line for each missing, repeated or unknown name and each empty cluster.

    Examples:
        >>> validate([["cat", "dog"], ["boat"]], ["boat", "cat", "dog"])
    """
    groups = members(clusters)
    counts, known = Counter(name for group in groups for name in group), set(names)
    meant = {folded(name): name for name in names}
    problems = [f"cluster {number} is empty; drop it" for number, group in enumerate(groups, 1) if not group]
    problems += [f"{shown(name)} is missing; put it into one cluster" for name in names if name not in counts]
    for name, count in counts.items():
        if count > 1:
            problems.append(f"{shown(name)} is given {count} times; keep it in one cluster")
        if name not in known:
            # Names differ in case and spaces more often than they are invented.
            near = meant.get(folded(name))
            advice = "it is none of the class names" if near is None else f"write it as {shown(near)}"
            problems.append(f"{shown(name)} is unknown; {advice}")
    if problems:
        raise InputError([f"clusters: {problem}" for problem in problems])


def folded(name: str) -> str:
    """A name without what the eye misses: case, spaces around and between words, characters of no width.

    Examples:
        >>> folded(" Dining\\u200b  Table")
        'dining table'
    """
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join(seen.casefold().split())


def shown(name: str) -> str:
    """A name as it may stand in a message, whatever it holds: quoted, on one line, not long."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[:LONGEST_SHOWN])
    return f"'{plain}'" if len(name) <= LONGEST_SHOWN else f"'{plain}…'"


def same(a: Partition, b: Partition) -> bool:
    """Whether two partitions are equal, ignoring order and cluster names.

    Examples:
        >>> same([["cat", "dog"], ["boat"]], {"vehicle": ["boat"], "animal": ["dog", "cat"]})
        True
    """
    return {frozenset(group) for group in members(a)} == {frozenset(group) for group in members(b)}


def consensus(partitions: Sequence[Partition]) -> Consensus:
    """Merge partitions of the same names.

    Two names are as near as the share of partitions that put them together (co-association); average linkage
    then joins clusters whose members are together in at least half of the partitions, on average.

    Args:
        partitions: one or more, exact partitions of the same names.

    Raises:
        InputError: no partition, or partitions of different names.

    Examples:
        >>> consensus([[["cat", "dog"], ["boat"]], [["cat", "dog"], ["boat"]], [["cat"], ["dog", "boat"]]]).clusters
        [('boat',), ('cat', 'dog')]
    """
    if not partitions:
        raise InputError("clusters: a consensus needs at least one partition")
    # Sorted, because average linkage breaks ties by position: the order given must not matter.
    names = sorted({name for group in members(partitions[0]) for name in group})
    for partition in partitions:
        validate(partition, names)
    found = np.ones(1, int)
    if len(names) > 1:
        found = fcluster(tree(co_association(partitions, names)), CUT + TIE, "distance")
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, found.tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    indices = [adjusted_rand_index(a, b) for a, b in combinations(partitions, 2)]
    return Consensus([tuple(group) for group in groups.values()], float(np.mean(indices)) if indices else 1.0)


def named(found: Consensus, samples: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Each consensus cluster under the name of the cluster, of any sample, that it overlaps most (Jaccard index)."""
    names: dict[str, list[str]] = {}
    for group in found.clusters:
        ranked = sorted(
            (-len(set(group) & set(members)) / len(set(group) | set(members)), number, name)
            for number, sample in enumerate(samples)
            for name, members in sample.items()
            if set(group) & set(members)
        )
        # Samples that all use the same few names may leave none for a further cluster.
        wanted = [name for _, _, name in ranked]
        names[next((name for name in wanted if name not in names), free_name(wanted[0], names))] = list(group)
    return names


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """``name``, or with a number behind it: two parts of one round may hit on the same name for different clusters."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name} {number}"
    return free


def co_association(partitions: Sequence[Partition], names: Sequence[str]) -> Float[np.ndarray, "n n"]:
    """How often two names share a cluster, as a share of the partitions."""
    together = np.zeros((len(names), len(names)))
    for partition in partitions:
        assigned = _assignment(partition, names)
        together += assigned[:, None] == assigned[None, :]
    return together / len(partitions)


def tree(together: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "m 4"]:
    """Average linkage of a co-association, m = n - 1 joins as SciPy writes them; heights are 1 - co-association."""
    return linkage(squareform(1 - together, checks=False), "average")


def adjusted_rand_index(a: Partition, b: Partition) -> float:
    """Agreement of two partitions of the same names: 1 when equal, 0 on average by chance (Hubert and Arabie 1985)."""
    table = _contingency(a, b)
    both, in_a, in_b = (_pairs(counts) for counts in (table, table.sum(1), table.sum(0)))
    expected = in_a * in_b / max(_pairs(np.array(table.sum())), 1)
    most = (in_a + in_b) / 2
    return 1.0 if most == expected else float((both - expected) / (most - expected))


def variation_of_information(a: Partition, b: Partition) -> float:
    """What each partition leaves untold of the other, in bits: 0 when equal, at most log2(names) (Meila 2007)."""
    joint = _contingency(a, b) / sum(map(len, members(a)))
    in_a, in_b = np.broadcast_arrays(joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True))
    cells = joint > 0
    shares = joint[cells]
    return float(max(0.0, -(shares * (np.log2(shares / in_a[cells]) + np.log2(shares / in_b[cells]))).sum()))


def _contingency(a: Partition, b: Partition) -> Int64[np.ndarray, "r c"]:
    names = [name for group in members(a) for name in group]
    rows, columns = _assignment(a, names), _assignment(b, names)
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def _pairs(counts: np.ndarray) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _assignment(partition: Partition, names: Sequence[str]) -> Int64[np.ndarray, "n"]:
    number = {name: index for index, group in enumerate(members(partition)) for name in group}
    return np.array([number[name] for name in names])
