"""The report as Markdown, made of the tables of `pcc.stages.tables`."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pcc.progress import duration
from pcc.stages.tables import chain, markdown, percent, records

CONDITIONS_SHOWN = (
    "initial_weights",
    "scales",
    "flip",
    "crf",
    "labels_at_inference",
    "ground_truth",
)


def report_text(
    summary: pd.DataFrame,
    published: pd.DataFrame,
    times: pd.DataFrame,
    first: Mapping[str, Any],
    clusters: Sequence[str],
    partitions: pd.DataFrame,
    nouns: Sequence[str],
) -> str:
    """report.md.

    Args:
        summary: of `summary_table`.
        published: of `published_table`.
        times: stage, job, seconds and peak memory of jobs.
        first: one of the metrics, for the classes that means are over.
        clusters: partitions that have a picture.
        partitions: of `comparison_table`.
        nouns: methods whose prompts have a picture.
    """
    dataset = ", ".join(dict.fromkeys(summary["dataset"].astype(str)))
    parts = [
        f"# Results on {dataset}\n",
        "Mean IoU in % from one confusion matrix over all scored images; ± is the standard deviation over seeds.\n"
        f"Means are over {len(first['eval_classes'])} of {len(first['classes'])} classes: "
        f"{', '.join(first['eval_classes'])}.\n"
        "Maps and pseudo masks are made with the image's labels, predictions without.\n",
        scores_table(summary),
        *(["## Beside published numbers\n", _published(published)] if len(published) else ()),
        "## Conditions\n",
        _conditions(summary),
    ]
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
    if len(times):
        parts += ["## Time\n", _time_table(times)]
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


def _time_table(times: pd.DataFrame) -> str:
    rows = [
        [
            str(stage),
            str(len(jobs)),
            duration(float(jobs["seconds"].sum())),
            duration(float(jobs["seconds"].max())),
            f"{jobs['peak_memory_mb'].max():.0f}",
        ]
        for stage, jobs in times.groupby("stage", sort=False)
    ]
    return markdown(["stage", "jobs", "time in all", "longest", "peak memory (MB)"], rows)


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')}, {row['split']}"


def _plain(value: object) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) and value else "not stated"
