"""Figures and comparison of partitions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pcc.clusters.partition import CUT, adjusted_rand_index, co_association, members, tree, variation_of_information
from pcc.figures import charts
from pcc.runtime.files import read_json


def clusters_figure(path: Path) -> Figure:
    """Clusters as boxes of names; for several samples, their co-association."""
    stored = read_json(path)
    title = f"Clusters: {path.parent.name}, by {stored.get('provider', 'hand')}"
    if not stored["clusters"]:
        return charts.nothing("no clusters: every class is on its own")
    samples, names = _samples(stored), sorted(name for group in members(stored["clusters"]) for name in group)
    if len(samples) < 2 or len(names) < 2:
        return charts.partition({c["name"]: c["members"] for c in stored["clusters"]}, title)
    together = co_association(samples, names)
    title += f"\n{len(samples)} samples, agreement {stored['agreement']:.2f}, {len(stored['clusters'])} clusters"
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
        stored = read_json(path)
        if stored["clusters"]:
            name = path.parent.name
            whole[name] = every[name] = stored["clusters"]
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


def _samples(stored: dict[str, Any]) -> list[Any]:
    return [sample["clusters"] for sample in stored.get("samples", [])]
