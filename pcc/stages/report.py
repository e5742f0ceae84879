"""Stage `report`: the metrics of many runs → tables (CSV, Markdown) and figures, nothing recomputed."""

import re
from collections.abc import Mapping, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pcc.errors import InputError
from pcc.figures import charts
from pcc.figures.canvas import save
from pcc.files import read_json, write_text
from pcc.progress import duration, log
from pcc.stages.partitions import clusters_picture, comparison_table
from pcc.stages.tables import (
    CHOICES,
    chain,
    full_supervision_twin,
    markdown,
    per_class_table,
    percent,
    records,
    runs_table,
    summary_table,
)

KINDS = ("predictions", "pseudo_masks", "maps")
SEED = re.compile(r"seed-\d+")


def report(
    metrics: Sequence[Path],
    output: Path,
    *,
    losses: Sequence[Path] = (),
    clusters: Sequence[Path] = (),
    benchmarks: Sequence[Path] = (),
    threads: int = 1,  # noqa: ARG001 - every stage has it
    code: str = "",  # noqa: ARG001 - every stage has it
) -> None:
    """Write tables (summary, runs, per_class, partitions), figures and report.md into ``output``.

    Numbers are shares in CSV and per cent in Markdown and figures; deviations are over seeds (n - 1). What was
    chosen with true masks has its own columns, whose names begin with ``oracle``.

    Args:
        metrics: the metrics.json of every run.
        output: folder.
        losses: losses.csv of trainings, drawn as curves, one panel for each folder but for its seed.
        clusters: clusters.json files, drawn as clusters_{name}.png and compared in partitions.csv.
        benchmarks: Snakemake's benchmark files, summed up by stage.
        threads: unused.
        code: unused.

    Raises:
        InputError: a file that is not what `evaluate` writes, or two of the same run.
    """
    found = [_read(path) for path in metrics]
    runs, classes = runs_table(found), per_class_table(found)
    if (
        twice := runs.duplicated([c for c in runs.columns if c in (*CHOICES, "seed", "kind", "split")])
    ).any():
        raise InputError(
            f"{metrics[int(np.flatnonzero(twice)[0])]}: same run as another --metrics; give each once"
        )
    summary, times = summary_table(runs), _times(benchmarks)
    for name, table in {"summary": summary, "runs": runs, "per_class": classes}.items():
        write_text(output / f"{name}.csv", table.to_csv(index=False))
    save(_per_class(summary, classes), output / "per_class.png")
    save(_weak_full(summary), output / "weak_full.png")
    save(_curves(losses), output / "curves.png")
    for path in clusters:
        save(clusters_picture(path), output / f"clusters_{path.parent.name}.png")
    partitions = comparison_table(clusters)
    write_text(output / "partitions.csv", partitions.to_csv(index=False))
    if len(times):
        write_text(output / "times.csv", times.to_csv(index=False))
    text = _text(summary, times, found[0], [path.parent.name for path in clusters], partitions)
    write_text(output / "report.md", text)
    log.info("scores in %%\n%s", _scores(summary))


def _read(path: Path) -> dict[str, Any]:
    try:
        metrics = read_json(path)
        runs_table([metrics])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a metrics.json ({type(error).__name__}: {error}); run `pcc evaluate`"
        ) from error
    return metrics


def _per_class(summary: pd.DataFrame, classes: pd.DataFrame) -> Figure:
    """Bars of the last step that any experiment reached; the best experiments where there are too many."""
    kind = next(k for k in KINDS if (summary["kind"] == k).any())
    rows = summary[summary["kind"] == kind].dropna(subset="mean_iou")
    best = rows.nlargest(charts.MOST_SERIES, "mean_iou").index
    if not len(best):
        return charts.nothing("no image has a mask that may be scored")
    names = list(dict.fromkeys(classes["class"][classes["in_mean"]]))
    labels = np.array([chain(row) for row in records(classes)])
    series = {}
    for row in records(rows.loc[sorted(best)]):
        chosen = classes[
            (labels == chain(row)) & (classes["kind"] == kind) & (classes["split"] == row["split"])
        ]
        values = chosen.set_index("class").reindex(names)
        label = f"{chain(row)}   (mIoU {percent(row['mean_iou'], row['mean_iou_sd'])} %, {_seeds(row)})"
        series[label] = (values["iou"].tolist(), values["iou_sd"].tolist())
    split = "/".join(dict.fromkeys(rows["split"]))
    cut = f", the best {len(best)} of {len(rows)}" if len(best) < len(rows) else ""
    return charts.bars_per_class(names, series, f"IoU by class: {kind.replace('_', ' ')} on {split}{cut}")


def _weak_full(summary: pd.DataFrame) -> Figure:
    rows = []
    for row in records(summary):
        twin = full_supervision_twin(summary, row)
        if twin is not None and twin["mean_iou"] > 0 and not np.isnan(row["mean_iou"]):
            rows.append(
                (chain(row), row["mean_iou"], row["mean_iou_sd"], twin["mean_iou"], twin["mean_iou_sd"])
            )
    if not rows:
        return charts.nothing("no segmenter was trained both from image-level labels and from true masks")
    return charts.weak_full(rows)


def _curves(losses: Sequence[Path]) -> Figure:
    if not losses:
        return charts.nothing("no losses.csv was given")
    root = Path(commonpath([path.parent.parent for path in losses]))
    panels: dict[str, dict[str, Any]] = {}
    for path in losses:
        parts = path.parent.relative_to(root).parts if len(losses) > 1 else path.parts[-4:-1]
        seed = next((part for part in parts if SEED.fullmatch(part)), "loss")
        panel = " / ".join(part for part in parts if part != seed) or path.parent.name
        table = pd.read_csv(path)
        panels.setdefault(panel, {})[seed.replace("-", " ")] = (
            table["step"].to_numpy(),
            table["loss"].to_numpy(),
        )
    return charts.curves(panels, "Training losses")


def _times(benchmarks: Sequence[Path]) -> pd.DataFrame:
    """Stage, job, seconds and peak memory of each benchmark file."""
    if not benchmarks:
        return pd.DataFrame()
    root = Path(commonpath([path.parent for path in benchmarks]))
    rows = []
    for path in benchmarks:
        table = pd.read_csv(path, sep="\t")
        job = path.relative_to(root).with_suffix("").as_posix()
        stage = job.split("/")[0] if job.startswith("clusters/") else path.stem.split("-")[0]
        memory = pd.to_numeric(table["max_rss"], errors="coerce").max()
        rows.append({"stage": stage, "job": job, "seconds": table["s"].sum(), "peak_memory_mb": memory})
    return pd.DataFrame(rows)


def _text(
    summary: pd.DataFrame,
    times: pd.DataFrame,
    first: Mapping[str, Any],
    clusters: Sequence[str],
    partitions: pd.DataFrame,
) -> str:
    dataset = ", ".join(dict.fromkeys(summary["dataset"].astype(str)))
    parts = [
        f"# Results on {dataset}\n",
        "Mean IoU in % from one confusion matrix over all scored images; ± is the standard deviation over seeds.\n"
        f"Means are over {len(first['eval_classes'])} of {len(first['classes'])} classes: "
        f"{', '.join(first['eval_classes'])}.\n"
        "Maps and pseudo masks are made with the image's labels, predictions without.\n",
        _scores(summary),
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
    if len(times):
        parts += ["## Time\n", _time_table(times)]
    return "\n".join(parts)


def _scores(summary: pd.DataFrame) -> str:
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
            f"{row['kind'].replace('_', ' ')}, {row['split']}",
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


def _conditions(summary: pd.DataFrame) -> str:
    headers = [
        "experiment",
        "scored",
        "images",
        "scales",
        "flip",
        "CRF",
        "labels at inference",
        "ground truth",
    ]
    rows = [
        [
            chain(row),
            f"{row['kind'].replace('_', ' ')}, {row['split']}",
            str(row["images"]),
            *(_plain(row[c]) for c in ("scales", "flip", "crf", "labels_at_inference", "ground_truth")),
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


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"


def _plain(value: object) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) and value else "not stated"
