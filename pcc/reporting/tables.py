"""Tables of metrics by run, by experiment over seeds, and by class. Values are fractions in [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt

from pcc.configuration import CHAIN
from pcc.reporting.escape import inline
from pcc.runtime.files import read_as, read_json

CHOICES = ("dataset", "supervision", *CHAIN)
CONDITIONS = (
    "kind",
    "split",
    "ground_truth",
    "images",
    "classes",
    "initial_weights",
    "scales",
    "flip",
    "crf",
    "labels_at_inference",
    "oracle",
)
SCORES = ("mean_iou", "pixel_accuracy", "boundary_iou", "within_cluster_confusion", "between_cluster_confusion")
ORACLE = ("oracle_threshold", "oracle_mean_iou")
GROUP = [*CHOICES, *CONDITIONS]


Share = Annotated[float, Field(ge=0, le=1)] | None


@dataclass(frozen=True)
class Metrics:
    """What is read of a metrics.json."""

    experiment: dict[str, Any]
    settings: dict[str, Any]
    kind: Literal["maps", "pseudo_masks", "predictions"]
    split: str
    ground_truth: str
    num_images: NonNegativeInt
    classes: list[str]
    eval_classes: list[str]
    confusion_matrix: list[list[NonNegativeInt]]
    iou: dict[str, Share]
    precision: dict[str, Share]
    recall: dict[str, Share]
    mean_iou: Share
    pixel_accuracy: Share
    boundary_iou: Share
    within_cluster_confusion: Share
    between_cluster_confusion: Share
    oracle: bool
    oracle_threshold: dict[str, Any] | None
    labels_at_inference: bool


def read_metrics(path: Path) -> dict[str, Any]:
    """All that a metrics.json holds.

    Raises:
        InputError: not a metrics.json.
    """
    read_as(path, Metrics, "pcc evaluate")
    return cast(dict[str, Any], read_json(path))


def runs_table(metrics: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per metrics.json: choices, seed, conditions, metrics, oracle columns."""
    return pd.DataFrame([_run(m) for m in metrics], columns=[*CHOICES, "seed", *CONDITIONS, *SCORES, *ORACLE])


def _run(metrics: Mapping[str, Any]) -> dict[str, Any]:
    choices = {name: metrics["experiment"].get(name) for name in CHOICES}
    settings, oracle = metrics["settings"], metrics["oracle_threshold"] or {}
    return {
        **choices,
        "supervision": choices["supervision"] or "labels",
        "seed": metrics["experiment"].get("seed"),
        **{name: metrics[name] for name in ("kind", "split", "ground_truth", "labels_at_inference", "oracle")},
        "images": metrics["num_images"],
        "classes": len(metrics["eval_classes"]),
        "scales": None if settings.get("scales") is None else " ".join(f"{scale:g}" for scale in settings["scales"]),
        **{name: settings.get(name) for name in ("flip", "initial_weights", "crf")},
        **{name: metrics[name] for name in SCORES},
        "oracle_threshold": oracle.get("threshold"),
        "oracle_mean_iou": oracle.get("mean_iou"),
    }


def summary_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per experiment and step: means over seeds, standard deviations (n - 1) of mIoU, weak/full ratio."""
    numbers = [*SCORES, *ORACLE]
    groups = runs.astype(dict.fromkeys(numbers, float)).groupby(GROUP, sort=False, dropna=False)
    table = groups[numbers].mean()
    table.insert(0, "seeds", groups.size())
    table.insert(2, "mean_iou_sd", groups["mean_iou"].std())
    table["oracle_mean_iou_sd"] = groups["oracle_mean_iou"].std()
    table = table.reset_index()
    table.insert(list(table.columns).index("mean_iou_sd") + 1, "weak_full_ratio", _weak_full(table))
    return table


def _weak_full(table: pd.DataFrame) -> list[float]:
    """mIoU relative to the fully supervised baseline; NaN without one."""
    return [
        row["mean_iou"] / twin["mean_iou"] if twin is not None and twin["mean_iou"] else np.nan
        for row, twin in ((row, full_supervision_twin(table, row)) for row in records(table))
    ]


def full_supervision_twin(table: pd.DataFrame, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fully supervised baseline: the same segmenter, evaluated under the same conditions."""
    if row["kind"] != "predictions" or row["supervision"] == "masks":
        return None
    alike = ("dataset", "segmenter", "kind", "split", "ground_truth", "images", "classes")
    twins = (r for r in records(table) if r["supervision"] == "masks" and all(r[c] == row[c] for c in alike))
    return next(twins, None)


def published_table(summary: pd.DataFrame, published: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Our results and published ones, matched by chain and number of images.

    Args:
        summary: from `summary_table`.
        published: method, localization, refinement, segmenter (None for skipped steps), ``mean_iou`` in per cent,
            ``images`` and ``source``.
    """
    rows = [
        {**{key: row[key] for key in (*CHOICES, "kind", "split", "oracle", "mean_iou", "mean_iou_sd")}}
        | {"published": number["mean_iou"] / 100, "source": number["source"]}
        for number in published
        for row in records(summary)
        if all((row[c] if isinstance(row[c], str) else None) == number.get(c) for c in CHAIN)
        and row["images"] == number["images"]
    ]
    columns = [*CHOICES, "kind", "split", "oracle", "mean_iou", "mean_iou_sd", "published", "source"]
    return pd.DataFrame(rows, columns=columns)


def per_class_table(metrics: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per experiment, step and class: IoU with standard deviation over seeds, precision, recall."""
    rows = [
        {
            **{key: run[key] for key in (*CHOICES, "kind", "split", "oracle")},
            "seed": run["seed"],
            "class": name,
            "in_mean": name in m["eval_classes"],
            "iou": m["iou"][name],
            "precision": m["precision"][name],
            "recall": m["recall"][name],
        }
        for m, run in ((m, _run(m)) for m in metrics)
        for name in m["classes"]
    ]
    keys, numbers = [*CHOICES, "kind", "split", "oracle", "class", "in_mean"], ["iou", "precision", "recall"]
    groups = pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)).groupby(keys, sort=False, dropna=False)
    table = groups[numbers].mean()
    table.insert(1, "iou_sd", groups["iou"].std())
    return table.reset_index()


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def chain(row: Mapping[str, Any]) -> str:
    """``pcc / iscam / crf / light`` or ``fully supervised / light``; ``(oracle)`` if selected on ground truth."""
    steps = [
        "fully supervised" if row["supervision"] == "masks" else row["method"],
        row["localization"],
        row["refinement"],
        row["segmenter"],
    ]
    joined = " / ".join(str(step) for step in steps if isinstance(step, str))
    return f"{joined} (oracle)" if row["oracle"] else joined


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A padded Markdown table of any texts; the first column is left-aligned, others right-aligned."""
    headers, rows = [inline(text) for text in headers], [[inline(text) for text in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(headers, *rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in (headers, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def percent(value: float, deviation: float = np.nan) -> str:
    """``54.2 ± 0.8``, ``54.2``, or a dash for NaN."""
    if np.isnan(value):
        return "–"
    return f"{100 * value:.1f}" if np.isnan(deviation) else f"{100 * value:.1f} ± {100 * deviation:.1f}"
