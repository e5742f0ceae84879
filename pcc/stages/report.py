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
from pcc.figures.nouns import nearest_nouns
from pcc.files import read_json, write_text
from pcc.progress import log
from pcc.stages.partitions import clusters_picture, comparison_table
from pcc.stages.report_text import report_text, scores_table
from pcc.stages.tables import (
    CHOICES,
    chain,
    full_supervision_twin,
    per_class_table,
    percent,
    published_table,
    records,
    runs_table,
    summary_table,
)

KINDS = ("predictions", "pseudo_masks", "maps")
LOSS_COLUMNS = (
    "phase",
    "epoch",
    "step",
    "lr",
    "loss",
)  # what stands in losses.csv besides the parts of the loss
SEED = re.compile(r"seed-\d+")


def report(
    metrics: Sequence[Path],
    output: Path,
    *,
    losses: Sequence[Path] = (),
    clusters: Sequence[Path] = (),
    benchmarks: Sequence[Path] = (),
    nouns: Sequence[Path] = (),
    published: Sequence[Mapping[str, Any]] = (),
    threads: int = 1,  # noqa: ARG001 - every stage has it
    code: str = "",  # noqa: ARG001 - every stage has it
) -> None:
    """Write tables (summary, runs, per_class, published, partitions), figures and report.md into ``output``.

    Numbers are shares in CSV and per cent in Markdown and figures; deviations are over seeds (n - 1). What was
    chosen with true masks has its own columns, whose names begin with ``oracle``.

    Args:
        metrics: the metrics.json of every run.
        output: folder.
        losses: losses.csv of trainings, drawn as curves, one panel for each folder but for its seed.
        clusters: clusters.json files, drawn as clusters_{name}.png and compared in partitions.csv.
        benchmarks: Snakemake's benchmark files, summed up by stage.
        nouns: nouns.csv of methods with prompts; the first of each method is drawn as nouns_{method}.png.
        published: numbers to put beside ours, see `published_table`.
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
    others = published_table(summary, published)
    for name, table in {
        "summary": summary,
        "runs": runs,
        "per_class": classes,
        "published": others,
    }.items():
        write_text(output / f"{name}.csv", table.to_csv(index=False))
    save(_per_class(summary, classes), output / "per_class.png")
    save(_weak_full(summary), output / "weak_full.png")
    save(_curves(losses), output / "curves.png")
    for path in clusters:
        save(clusters_picture(path), output / f"clusters_{path.parent.name}.png")
    pictures = _nouns_pictures(nouns)
    for name, figure in pictures.items():
        save(figure, output / f"nouns_{name}.png")
    partitions = comparison_table(clusters)
    write_text(output / "partitions.csv", partitions.to_csv(index=False))
    if len(times):
        write_text(output / "times.csv", times.to_csv(index=False))
    names = [path.parent.name for path in clusters]
    text = report_text(summary, others, times, found[0], names, partitions, list(pictures))
    write_text(output / "report.md", text)
    log.info("scores in %%\n%s", scores_table(summary))


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
    """A panel for each training and each part of its loss, a line for each seed."""
    if not losses:
        return charts.nothing("no losses.csv was given")
    root = Path(commonpath([path.parent.parent for path in losses]))
    panels: dict[str, dict[str, Any]] = {}
    for path in losses:
        folders = path.parent.relative_to(root).parts if len(losses) > 1 else path.parts[-4:-1]
        seed = next((folder for folder in folders if SEED.fullmatch(folder)), "loss")
        training = " / ".join(folder for folder in folders if folder != seed) or path.parent.name
        table = pd.read_csv(path)
        parts = [name for name in table.columns if name not in LOSS_COLUMNS]
        for part in parts if len(parts) > 1 else ["loss"]:
            panel = f"{training}: {part.replace('_', ' ')}" if len(parts) > 1 else training
            line = table.dropna(subset=part)
            panels.setdefault(panel, {})[seed.replace("-", " ")] = (
                line["step"].to_numpy(),
                line[part].to_numpy(),
            )
    return charts.curves(panels, "Training losses")


def _nouns_pictures(nouns: Sequence[Path]) -> dict[str, Figure]:
    """By method, what its prompts say at its first seed."""
    pictures: dict[str, Figure] = {}
    for path in nouns:
        method, seed = path.parts[-3:-1]
        if method not in pictures:
            table = pd.read_csv(path)
            rows = [
                (
                    str(name),
                    float(found["cosine"].iloc[0]),
                    list(zip(found["noun"], found["cosine"], strict=True))[1:],
                )
                for name, found in table.groupby("class", sort=False)
            ]
            title = f"Nearest nouns of the learned prompts: {method}, {seed.replace('-', ' ')}"
            pictures[method] = nearest_nouns(rows, title)
    return pictures


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


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
