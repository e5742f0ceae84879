"""The report as Markdown, made of the tables of `pcc.reporting.tables`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from pcc.reporting.failures import Experiment, failures_text, trust_text
from pcc.reporting.tables import chain, markdown, percent, records
from pcc.runtime.progress import duration

CONDITIONS_SHOWN = (
    "initial_weights",
    "scales",
    "flip",
    "crf",
    "labels_at_inference",
    "ground_truth",
)


class Tables(NamedTuple):
    """Tables of the report.

    Attributes:
        summary: of `summary_table`.
        published: of `published_table`.
        cost: of `by_stage`.
        partitions: of `comparison_table`.
    """

    summary: pd.DataFrame
    published: pd.DataFrame
    cost: pd.DataFrame
    partitions: pd.DataFrame


class Run(NamedTuple):
    """What was run.

    Attributes:
        config: the configuration; None where it is not known.
        provenance: of the metrics.
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
    """report.md: how good, compared with what, where it fails, what it cost, what was run.

    Args:
        tables: what is shown as tables.
        metrics: of every run.
        best: the experiment whose failures are shown.
        run: configuration and provenance.
        clusters: partitions that have a picture.
        nouns: methods whose prompts have a picture.
    """
    summary, published, cost, partitions = tables
    first = metrics[0]
    dataset = ", ".join(dict.fromkeys(summary["dataset"].astype(str)))
    parts = [
        f"# Results on {dataset}\n",
        "Mean IoU in % from one confusion matrix over all scored images; ± is the standard deviation over seeds.\n"
        f"Means are over {len(first['eval_classes'])} of {len(first['classes'])} classes: "
        f"{', '.join(first['eval_classes'])}.\n"
        "Maps and pseudo masks are made with the image's labels, predictions without.\n",
        scores_table(summary),
        *(["## Beside published numbers\n", _published(published)] if len(published) else ()),
        "## Where it fails\n",
        *([failures_text(best), "![Confusion](confusion.png)\n"] if best else ["There is no score.\n"]),
    ]
    if trusted := trust_text(metrics):
        parts += [
            "### Which masks to look at first\n",
            "`quality.csv` says without true masks how far each may be trusted. With them, what that is worth: the\n"
            "rank correlation of the confidence with the IoU (Spearman), and how much of all errors is in the fifth\n"
            "of the images that are trusted least.\n",
            trusted,
        ]
    parts += ["## Conditions\n", _conditions(summary)]
    if summary["oracle_mean_iou"].notna().any():
        parts += [
            "## Oracle: background threshold chosen with the true masks\n",
            "A bound, not a result: no experiment above uses it.\n",
            _oracle(summary),
        ]
    parts += [
        "## By class\n",
        "![IoU by class](per_class.png)\n",
        "## Weak against full supervision\n",
        "![Weak against full supervision](weak_full.png)\n",
        "## Training\n",
        "![Losses](curves.png)\n",
    ]
    if clusters:
        parts += ["## Clusters\n", *(f"![Clusters: {name}](clusters_{name}.png)\n" for name in clusters)]
    if len(partitions):
        parts += ["How alike the partitions are, by adjusted Rand index and variation of information:\n"]
        parts += [_partition_table(partitions)]
    if nouns:
        parts += [
            "## Learned prompts\n",
            "What each class's prompt lies nearest to, by cosine in CLIP's space:\n",
        ]
        parts += [f"![Nearest nouns: {name}](nouns_{name}.png)\n" for name in nouns]
    if len(cost):
        parts += [
            "## Cost\n",
            "Of everything in this results folder.\n",
            _cost_table(cost),
            "![Cost](costs.png)\n",
        ]
    parts += ["## What was run\n", _what_was_run(metrics, run)]
    return "\n".join(parts)


def scores_table(summary: pd.DataFrame) -> str:
    """The scores of all experiments, in per cent."""
    headers = [
        "experiment",
        "scored",
        "seeds",
        "mIoU",
        "weak/full",
        "pixel acc.",
        "boundary IoU",
        "confused within",
        "confused between",
    ]
    rows = [
        [
            chain(row),
            _scored(row),
            str(row["seeds"]),
            percent(row["mean_iou"], row["mean_iou_sd"]),
            *(
                percent(row[c])
                for c in (
                    "weak_full_ratio",
                    "pixel_accuracy",
                    "boundary_iou",
                    "within_cluster_confusion",
                    "between_cluster_confusion",
                )
            ),
        ]
        for row in records(summary)
    ]
    return markdown(headers, rows)


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
    headers = [
        "experiment",
        "scored",
        "images",
        "initial weights",
        "scales",
        "flip",
        "CRF",
        "labels at inference",
        "ground truth",
    ]
    rows = [
        [
            chain(row),
            _scored(row),
            str(row["images"]),
            *(_plain(row[c]) for c in CONDITIONS_SHOWN),
        ]
        for row in records(summary)
    ]
    return markdown(headers, rows)


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
    return markdown(["experiment", "split", "oracle threshold (mean)", "oracle mIoU", "mIoU without"], rows)


def _partition_table(partitions: pd.DataFrame) -> str:
    others = list(dict.fromkeys(partitions["compared_with"]))
    headers = ["partition", "clusters", *(f"against {other}: ARI, VI (bits)" for other in others)]
    rows = []
    for name, pairs in partitions.groupby("partition", sort=False):
        told = {
            p["compared_with"]: f"{p['adjusted_rand_index']:.2f}, {p['variation_of_information']:.2f}"
            for p in records(pairs)
        }
        rows.append([str(name), str(pairs["clusters"].iloc[0]), *(told.get(other, "–") for other in others)])
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
    return markdown(["stage", "jobs", "time in all", "longest", "peak memory (MB)", "disk (MB)"], rows)


def _what_was_run(metrics: Sequence[Mapping[str, Any]], run: Run) -> str:
    """Seeds, revision, devices and versions of all runs, and the whole configuration."""
    versions = dict.fromkeys(name for p in run.provenance for name in p["versions"])
    said = {
        "seeds": [str(m["experiment"].get("seed")) for m in metrics],
        "revision": [str(p["git"]) for p in run.provenance],
        "device": [p["device"] for p in run.provenance],
        **{name: [p["versions"].get(name, "") for p in run.provenance] for name in versions},
    }
    lines = [f"- {name}: {', '.join(dict.fromkeys(values))}" for name, values in said.items() if values]
    if run.config is None:
        return "\n".join([*lines, ""])
    again = "The configuration, as `config.yaml` beside this page; `snakemake --configfile` runs it again:"
    return "\n".join([*lines, "", again, "", "```yaml", config_text(run.config) + "```", ""])


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=None, width=110)


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')}, {row['split']}"


def _plain(value: object) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) and value else "not stated"
