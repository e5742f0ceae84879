"""Stage `report`: the metrics of many runs → tables (CSV, Markdown) and figures, nothing recomputed."""

import re
from collections.abc import Mapping, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pcc.artifacts.losses import LOSS_COLUMNS
from pcc.figures import charts
from pcc.figures.canvas import save
from pcc.figures.nouns import nearest_nouns
from pcc.reporting.costs import by_stage, disk, times
from pcc.reporting.failures import Experiment, best_of_last_step
from pcc.reporting.partitions import clusters_picture, comparison_table
from pcc.reporting.tables import (
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
from pcc.reporting.text import Run, Tables, config_text, report_text, scores_table
from pcc.results import KINDS
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json, write_text
from pcc.runtime.progress import log
from pcc.runtime.stage import stage

SEED = re.compile(r"seed-\d+")


@stage
def report(
    metrics: Sequence[Path],
    output: Path,
    *,
    losses: Sequence[Path] = (),
    clusters: Sequence[Path] = (),
    results: Path | None = None,
    nouns: Sequence[Path] = (),
    published: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write tables (summary, runs, per_class, published, partitions), figures and report.md into ``output``.

    Numbers are shares in CSV and per cent in Markdown and figures; deviations are over seeds (n - 1). What was
    chosen with true masks has its own columns, whose names begin with ``oracle``.

    Args:
        metrics: the metrics.json of every run.
        output: folder.
        losses: losses.csv of trainings, drawn as curves, one panel for each folder but for its seed.
        clusters: clusters.json files, drawn as clusters_{name}.png and compared in partitions.csv.
        results: folder of the data set's results, for what it cost: times and memory from Snakemake's benchmark files,
            and the sizes of artifacts.
        nouns: nouns.csv of methods with prompts; the first of each method is drawn as nouns_{method}.png.
        published: numbers to put beside ours, see `published_table`.
        config: the whole configuration, written down as config.yaml.

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
    summary, jobs = summary_table(runs), pd.DataFrame() if results is None else times(results)
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
    cost = pd.DataFrame()
    if results is not None and len(jobs):
        cost = by_stage(jobs, disk(results))
        write_text(output / "times.csv", jobs.to_csv(index=False))
    save(
        charts.costs(cost) if len(cost) else charts.nothing("no benchmark file was found"),
        output / "costs.png",
    )
    best = best_of_last_step(found)
    save(_confusion(best), output / "confusion.png")
    tables = Tables(summary, others, cost, partitions)
    names = [path.parent.name for path in clusters]
    if config is not None:
        write_text(output / "config.yaml", config_text(config))
    text = report_text(tables, found, best, Run(config, _provenance(metrics)), names, list(pictures))
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
    kind = next(k for k in reversed(KINDS) if (summary["kind"] == k).any())
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


def _confusion(best: Experiment | None) -> Figure:
    if best is None:
        return charts.nothing("no image has a mask that may be scored")
    return charts.confusion(best.confusion.tolist(), best.metrics[0]["classes"], f"Confusion: {best.name}")


def _provenance(metrics: Sequence[Path]) -> list[dict[str, Any]]:
    """How each number came about, where that is known."""
    files = [path.with_suffix(".provenance.json") for path in metrics]
    return [read_json(file) for file in files if file.is_file()]


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


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
