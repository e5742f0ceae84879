"""The report as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from pcc.reporting.escape import block, inline, picture
from pcc.reporting.failures import Experiment, failures_text, reliability_text
from pcc.reporting.tables import chain, markdown, percent, records
from pcc.runtime.progress import duration

CONDITIONS = {  # column of the report: column of the summary
    "initial weights": "initial_weights",
    "scales": "scales",
    "flip": "flip",
    "CRF": "crf",
    "labels at inference": "labels_at_inference",
    "ground truth": "ground_truth",
}
METRICS = {
    "weak/full": "weak_full_ratio",
    "pixel acc.": "pixel_accuracy",
    "boundary IoU": "boundary_iou",
    "confused within": "within_cluster_confusion",
    "confused between": "between_cluster_confusion",
}


class Tables(NamedTuple):
    """Tables of the report.

    Attributes:
        summary: from `summary_table`.
        published: from `published_table`.
        cost: from `by_stage`.
        partitions: from `comparison_table`.
    """

    summary: pd.DataFrame
    published: pd.DataFrame
    cost: pd.DataFrame
    partitions: pd.DataFrame


class Run(NamedTuple):
    """Configuration and provenance.

    Attributes:
        config: the configuration, if known.
        provenance: provenance of the metrics.
    """

    config: Mapping[str, Any] | None
    provenance: Sequence[Mapping[str, Any]]


def report_text(
    tables: Tables,
    metrics: Sequence[Mapping[str, Any]],
    best: Experiment | None,
    run: Run,
    clusters: Sequence[str],
    nouns: Sequence[str],
) -> str:
    """report.md: metrics, published results, failures, conditions, cost, configuration.

    Args:
        tables: tables to show.
        metrics: metrics of every run.
        best: experiment for the failure analysis.
        run: configuration and provenance.
        clusters: partitions with a figure.
        nouns: methods with a figure of their prompts.
    """
    summary, published, cost, partitions = tables
    first = metrics[0]
    dataset = ", ".join(dict.fromkeys(summary["dataset"].astype(str)))
    parts = [
        f"# Results on {inline(dataset)}\n",
        "mIoU in %, from one confusion matrix over all scored images; ± is the standard deviation over seeds.\n"
        f"Means are over {len(first['eval_classes'])} of {len(first['classes'])} classes: "
        f"{', '.join(map(inline, first['eval_classes']))}.\n"
        "Maps and pseudo masks use image-level labels; predictions do not.\n",
        scores_table(summary),
        *(["## Published results\n", _published(published)] if len(published) else ()),
        "## Failures\n",
        *([failures_text(best), "![Confusion](confusion.png)\n"] if best else ["Not scored.\n"]),
    ]
    if reliability := reliability_text(metrics):
        parts += [
            "### Reliability estimates\n",
            "`quality.csv` estimates the reliability of each pseudo mask without ground truth. Evaluation:\n"
            "rank correlation of the confidence with the IoU, and errors in the fifth of the images with the lowest\n"
            "confidence (20 % by chance).\n",
            reliability,
        ]
    parts += ["## Conditions\n", _conditions(summary)]
    if summary["oracle_mean_iou"].notna().any():
        parts += [
            "## Oracle: background threshold selected on ground truth\n",
            "An upper bound, not used by any experiment above.\n",
            _oracle(summary),
        ]
    parts += [
        "## Classes\n",
        "![IoU by class](per_class.png)\n",
        "## Weak and full supervision\n",
        "![Weak and full supervision](weak_full.png)\n",
        "## Training\n",
        "![Losses](curves.png)\n",
    ]
    if clusters:
        parts += ["## Clusters\n", *(picture(f"Clusters: {name}", f"clusters_{name}.png") + "\n" for name in clusters)]
    if len(partitions):
        parts += ["Similarity of the partitions: adjusted Rand index (ARI) and variation of information (VI):\n"]
        parts += [_partition_table(partitions)]
    if nouns:
        parts += ["## Learned prompts\n", "Nearest nouns of each class's prompt, by cosine similarity in CLIP space:\n"]
        parts += [picture(f"Nearest nouns: {name}", f"nouns_{name}.png") + "\n" for name in nouns]
    if len(cost):
        parts += [
            "## Cost\n",
            "All jobs and files in this results folder.\n",
            _cost_table(cost),
            "![Cost](costs.png)\n",
        ]
    parts += ["## Configuration\n", _configuration(metrics, run)]
    return "\n".join(parts)


def scores_table(summary: pd.DataFrame) -> str:
    """Metrics of all experiments, in per cent."""
    rows = [
        [
            chain(row),
            _scored(row),
            str(row["seeds"]),
            percent(row["mean_iou"], row["mean_iou_sd"]),
            *(percent(row[column]) for column in METRICS.values()),
        ]
        for row in records(summary)
    ]
    return markdown(["experiment", "scored", "seeds", "mIoU", *METRICS], rows)


def _published(published: pd.DataFrame) -> str:
    rows = [
        [
            chain(row),
            _scored(row),
            percent(row["mean_iou"], row["mean_iou_sd"]),
            percent(row["published"]),
            f"{100 * (row['mean_iou'] - row['published']):+.1f}",
            row["source"],
        ]
        for row in records(published)
    ]
    return markdown(["experiment", "scored", "ours", "published", "difference", "source"], rows)


def _conditions(summary: pd.DataFrame) -> str:
    rows = [
        [chain(row), _scored(row), str(row["images"]), *(_plain(row[column]) for column in CONDITIONS.values())]
        for row in records(summary)
    ]
    return markdown(["experiment", "scored", "images", *CONDITIONS], rows)


def _oracle(summary: pd.DataFrame) -> str:
    rows = [
        [
            chain(row),
            row["split"],
            f"{row['oracle_threshold']:.2f}",
            percent(row["oracle_mean_iou"], row["oracle_mean_iou_sd"]),
            percent(row["mean_iou"], row["mean_iou_sd"]),
        ]
        for row in records(summary[summary["oracle_mean_iou"].notna()])
    ]
    return markdown(["experiment", "split", "oracle threshold (mean)", "oracle mIoU", "mIoU"], rows)


def _partition_table(partitions: pd.DataFrame) -> str:
    others = list(dict.fromkeys(partitions["compared_with"]))
    headers = ["partition", "clusters", *(f"{other}: ARI, VI (bits)" for other in others)]
    rows = []
    for name, pairs in partitions.groupby("partition", sort=False):
        similarity = {
            p["compared_with"]: f"{p['adjusted_rand_index']:.2f}, {p['variation_of_information']:.2f}"
            for p in records(pairs)
        }
        rows.append([str(name), str(pairs["clusters"].iloc[0]), *(similarity.get(other, "–") for other in others)])
    return markdown(headers, rows)


def _cost_table(cost: pd.DataFrame) -> str:
    rows = [
        [
            str(row["stage"]),
            str(row["jobs"]),
            duration(row["seconds"]),
            duration(row["longest_s"]),
            f"{row['peak_memory_mb']:.0f}",
            "–" if np.isnan(row["disk_mb"]) else f"{row['disk_mb']:.1f}",
        ]
        for row in records(cost.reset_index())
    ]
    return markdown(["stage", "jobs", "total time", "longest job", "peak memory (MB)", "disk (MB)"], rows)


def _configuration(metrics: Sequence[Mapping[str, Any]], run: Run) -> str:
    """Seeds, revisions, devices and versions of all runs, and the configuration."""
    versions = dict.fromkeys(name for p in run.provenance for name in p["versions"])
    facts = {
        "seeds": [str(m["experiment"].get("seed")) for m in metrics],
        "revision": [str(p["git"]) for p in run.provenance],
        "device": [p["device"] for p in run.provenance],
        **{name: [p["versions"].get(name, "") for p in run.provenance] for name in versions},
    }
    lines = [
        f"- {inline(name)}: {', '.join(inline(value) for value in dict.fromkeys(values))}"
        for name, values in facts.items()
        if values
    ]
    if run.config is None:
        return "\n".join([*lines, ""])
    again = "Configuration (also in `config.yaml`); rerun it with `snakemake --configfile`:"
    return "\n".join([*lines, "", again, "", block(config_text(run.config), "yaml"), ""])


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=None, width=110)


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')}, {row['split']}"


def _plain(value: object) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) and value else "not set"
