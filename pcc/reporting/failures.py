"""Failure analysis: worst classes, confusions and images, and how well the confidence predicts them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from pcc.configuration import CHAIN
from pcc.reporting.escape import code, inline
from pcc.reporting.tables import chain, markdown, percent
from pcc.results import KINDS

SHOWN = 5


class Experiment(NamedTuple):
    """One step of an experiment over all its seeds.

    Attributes:
        name: see `chain`.
        metrics: metrics of each seed.
    """

    name: str
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def confusion(self) -> Int64[np.ndarray, "C C"]:
        """Confusion matrix summed over seeds."""
        return np.sum([m["confusion_matrix"] for m in self.metrics], axis=0)


def best_of_last_step(metrics: Sequence[Mapping[str, Any]]) -> Experiment | None:
    """The weakly supervised experiment with the highest mIoU at the last scored step; None if not scored."""
    weak = [m for m in metrics if m["experiment"].get("supervision") != "masks" and m["mean_iou"] is not None]
    kinds = [kind for kind in reversed(KINDS) if any(m["kind"] == kind for m in weak)]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for m in weak:
        if m["kind"] == kinds[0]:
            groups.setdefault(tuple(m["experiment"].get(step) for step in CHAIN), []).append(m)
    found = [Experiment(_name(group[0]), tuple(group)) for group in groups.values()]
    return max(found, key=lambda e: np.mean([m["mean_iou"] for m in e.metrics]), default=None)


def failures_text(experiment: Experiment) -> str:
    """Worst classes, largest confusions and worst images of an experiment."""
    first = experiment.metrics[0]
    seed = f" (seed {first['experiment'].get('seed')})" if len(experiment.metrics) > 1 else ""
    parts = [
        f"{code(experiment.name)}, {inline(first['kind'].replace('_', ' '))} on {inline(first['split'])}:\n",
        markdown(["worst classes", "IoU", "precision", "recall"], _worst_classes(experiment)),
        markdown(["class", "predicted as", "% of its pixels", "cluster"], _confusions(experiment)),
    ]
    if worst := first.get("worst_images"):
        rows = [[image_id, percent(score)] for image_id, score in worst[:SHOWN]]
        parts.append(markdown([f"worst images{seed}", "mIoU"], rows))
    return "\n".join(parts)


def reliability_text(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """How well the confidence in quality.csv predicts the IoU; None if not scored."""
    rows = [
        [
            f"{_name(m)}, seed {m['experiment'].get('seed')}",
            str(found["masks"]),
            "–" if found["spearman"] is None else f"{found['spearman']:.2f}",
            percent(_nan(found["errors_in_lowest_fifth"])),
            percent(_nan(found["lost_iou_in_lowest_fifth"])),
        ]
        for m in metrics
        if (found := m.get("quality"))
    ]
    headers = ["pseudo masks", "masks", "Spearman with IoU", "% of wrong pixels", "% of lost IoU"]
    return markdown(headers, rows) if rows else None


def _worst_classes(experiment: Experiment) -> list[list[str]]:
    means = {
        name: [
            float(np.mean([_nan(m[score][name]) for m in experiment.metrics]))
            for score in ("iou", "precision", "recall")
        ]
        for name in experiment.metrics[0]["eval_classes"]
    }
    known = {name: found for name, found in means.items() if not np.isnan(found[0])}
    return [
        [name, *(percent(value) for value in known[name])] for name in sorted(known, key=lambda n: known[n][0])[:SHOWN]
    ]


def _confusions(experiment: Experiment) -> list[list[str]]:
    """The largest fractions of a class's pixels predicted as another class, and whether both share a cluster."""
    first, counts = experiment.metrics[0], experiment.confusion.astype(float)
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(rates, 0)
    pairs = [divmod(int(at), len(rates)) for at in np.argsort(-rates, axis=None, kind="stable")[:SHOWN]]
    names = first["classes"]
    return [
        [
            names[target],
            names[predicted],
            percent(float(rates[target, predicted])),
            _relation(first, names[target], names[predicted]),
        ]
        for target, predicted in pairs
        if rates[target, predicted] > 0
    ]


def _relation(metrics: Mapping[str, Any], one: str, other: str) -> str:
    names = metrics["classes"]
    if names[0] in (one, other):
        return "background"
    if not metrics.get("clusters"):
        return "–"
    return "same" if any(one in group and other in group for group in metrics["clusters"]) else "different"


def _name(metrics: Mapping[str, Any]) -> str:
    choices = {step: metrics["experiment"].get(step) for step in CHAIN}
    supervision = metrics["experiment"].get("supervision") or "labels"
    return chain({**choices, "supervision": supervision, "oracle": metrics["oracle"]})


def _nan(value: float | None) -> float:
    return np.nan if value is None else value
