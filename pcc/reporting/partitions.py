"""Figures and comparison of partitions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pcc.artifacts.clusters import Stored, read_stored
from pcc.clusters.partition import CUT, adjusted_rand_index, co_association, tree, variation_of_information
from pcc.figures import charts


def clusters_figure(path: Path) -> Figure:
    """Clusters as boxes of names; for several samples, their co-association."""
    stored = read_stored(path)
    title = f"Clusters: {path.parent.name}, by {stored.provider}"
    if not stored.clusters:
        return charts.nothing("no clusters: every class is on its own")
    samples, names = _samples(stored), sorted(name for cluster in stored.clusters for name in cluster.members)
    if len(samples) < 2 or len(names) < 2:
        return charts.partition({c.name: list(c.members) for c in stored.clusters}, title)
    together = co_association(samples, names)
    agreement = "" if stored.agreement is None else f", agreement {stored.agreement:.2f}"
    title += f"\n{len(samples)} samples{agreement}, {len(stored.clusters)} clusters"
    return charts.co_association_map(together, tree(together), names, CUT, title)


def comparison_table(paths: Sequence[Path]) -> pd.DataFrame:
    """Pairwise similarity of partitions; one row per partition or sample of one, and another partition.

    Args:
        paths: clusters.json files of the same classes; empty partitions are skipped.

    Returns:
        partition, clusters (their number), compared_with, adjusted_rand_index, variation_of_information (bits).
    """
    whole: dict[str, Any] = {}
    every: dict[str, Any] = {}
    for path in paths:
        stored = read_stored(path)
        if stored.clusters:
            name = path.parent.name
            whole[name] = every[name] = [list(cluster.members) for cluster in stored.clusters]
            samples = _samples(stored)
            if len(samples) > 1:
                every |= {f"{name}, sample {number}": sample for number, sample in enumerate(samples, 1)}
    rows = [
        (name, len(a), other, adjusted_rand_index(a, b), variation_of_information(a, b))
        for name, a in every.items()
        for other, b in whole.items()
        if name != other
    ]
    columns = ["partition", "clusters", "compared_with", "adjusted_rand_index", "variation_of_information"]
    return pd.DataFrame(rows, columns=columns)


def _samples(stored: Stored) -> list[dict[str, tuple[str, ...]]]:
    return [sample.clusters for sample in stored.samples]
