"""Stage `report`: metrics of many runs → tables (CSV, Markdown) and figures; nothing is recomputed."""

import re
from collections.abc import Mapping, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pcc.artifacts.losses import LOSS_COLUMNS
from pcc.artifacts.provenance import Job
from pcc.data.tables import guarded
from pcc.figures import charts
from pcc.figures.canvas import save
from pcc.reporting.costs import by_stage, disk, times
from pcc.reporting.failures import Experiment, best_of_last_step
from pcc.reporting.own_tables import LOSSES, NOUNS, read_own
from pcc.reporting.partitions import clusters_figure, comparison_table
from pcc.reporting.tables import (
    CHOICES,
    chain,
    full_supervision_twin,
    per_class_table,
    percent,
    published_table,
    read_metrics,
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


@stage(writes="inside")
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

    Numbers are fractions in CSV and percentages in Markdown and figures; standard deviations are over seeds (n - 1).
    Columns of values selected on ground truth begin with ``oracle``.

    Args:
        metrics: metrics.json of each run.
        output: output folder.
        losses: losses.csv files, drawn as curves with one panel per training.
        clusters: clusters.json files, drawn to clusters_{name}.png and compared in partitions.csv.
        results: results folder of the data set, to report time, memory (Snakemake benchmarks) and disk use.
        nouns: nouns.csv files; the first of each method is drawn to nouns_{method}.png.
        published: published results to compare with, see `published_table`.
        config: the whole configuration, written to config.yaml.

    Raises:
        InputError: an invalid metrics.json, or duplicate runs.
    """
    job = Job({}, [*metrics, *losses, *clusters, *nouns])
    found = [read_metrics(path) for path in metrics]
    runs, classes = runs_table(found), per_class_table(found)
    if (twice := runs.duplicated([c for c in runs.columns if c in (*CHOICES, "seed", "kind", "split")])).any():
        raise InputError(f"{metrics[int(np.flatnonzero(twice)[0])]}: same run as another --metrics; pass each run once")
    summary, jobs = summary_table(runs), pd.DataFrame() if results is None else times(results)
    others = published_table(summary, published)
    for name, table in {"summary": summary, "runs": runs, "per_class": classes, "published": others}.items():
        write_text(output / f"{name}.csv", table.map(guarded).to_csv(index=False))
    save(_per_class(summary, classes), output / "per_class.png")
    save(_weak_full(summary), output / "weak_full.png")
    save(_curves(losses), output / "curves.png")
    for path in clusters:
        save(clusters_figure(path), output / f"clusters_{path.parent.name}.png")
    noun_figures = _noun_figures(nouns)
    for name, figure in noun_figures.items():
        save(figure, output / f"nouns_{name}.png")
    partitions = comparison_table(clusters)
    write_text(output / "partitions.csv", partitions.map(guarded).to_csv(index=False))
    cost = pd.DataFrame()
    if results is not None and len(jobs):
        cost = by_stage(jobs, disk(results))
        write_text(output / "times.csv", jobs.map(guarded).to_csv(index=False))
    save(charts.costs(cost) if len(cost) else charts.nothing("no benchmark files found"), output / "costs.png")
    best = best_of_last_step(found)
    save(_confusion(best), output / "confusion.png")
    tables = Tables(summary, others, cost, partitions)
    names = [path.parent.name for path in clusters]
    if config is not None:
        write_text(output / "config.yaml", config_text(config))
    text = report_text(tables, found, best, Run(config, _provenance(metrics)), names, list(noun_figures))
    write_text(output / "report.md", text)
    job.write_provenance(output)
    log.info("metrics in %%\n%s", scores_table(summary))


def _per_class(summary: pd.DataFrame, classes: pd.DataFrame) -> Figure:
    """Bars of the last step of the chain; only the best experiments if there are too many."""
    kind = next(k for k in reversed(KINDS) if (summary["kind"] == k).any())
    rows = summary[summary["kind"] == kind].dropna(subset="mean_iou")
    best = rows.nlargest(charts.MOST_SERIES, "mean_iou").index
    if not len(best):
        return charts.nothing("no image has a ground-truth mask for scoring")
    names = list(dict.fromkeys(classes["class"][classes["in_mean"]]))
    labels = np.array([chain(row) for row in records(classes)])
    series = {}
    for row in records(rows.loc[sorted(best)]):
        chosen = classes[(labels == chain(row)) & (classes["kind"] == kind) & (classes["split"] == row["split"])]
        values = chosen.set_index("class").reindex(names)
        label = f"{chain(row)}   (mIoU {percent(row['mean_iou'], row['mean_iou_sd'])} %, {_seeds(row)})"
        series[label] = (values["iou"].tolist(), values["iou_sd"].tolist())
    split = "/".join(dict.fromkeys(rows["split"]))
    cut = f", best {len(best)} of {len(rows)}" if len(best) < len(rows) else ""
    return charts.bars_per_class(names, series, f"IoU by class: {kind.replace('_', ' ')} on {split}{cut}")


def _weak_full(summary: pd.DataFrame) -> Figure:
    rows = []
    for row in records(summary):
        twin = full_supervision_twin(summary, row)
        if twin is not None and twin["mean_iou"] > 0 and not np.isnan(row["mean_iou"]):
            rows.append((chain(row), row["mean_iou"], row["mean_iou_sd"], twin["mean_iou"], twin["mean_iou_sd"]))
    if not rows:
        return charts.nothing("no segmenter has both a weakly and a fully supervised run")
    return charts.weak_full(rows)


def _confusion(best: Experiment | None) -> Figure:
    if best is None:
        return charts.nothing("no image has a ground-truth mask for scoring")
    return charts.confusion(best.confusion.tolist(), best.metrics[0]["classes"], f"Confusion: {best.name}")


def _provenance(metrics: Sequence[Path]) -> list[dict[str, Any]]:
    """Provenance of the metrics, where available."""
    files = [path.with_suffix(".provenance.json") for path in metrics]
    return [read_json(file) for file in files if file.is_file()]


def _curves(losses: Sequence[Path]) -> Figure:
    """One panel per training and loss term, one line per seed."""
    if not losses:
        return charts.nothing("no losses.csv given")
    root = Path(commonpath([path.parent.parent for path in losses]))
    panels: dict[str, dict[str, Any]] = {}
    for path in losses:
        folders = path.parent.relative_to(root).parts if len(losses) > 1 else path.parts[-4:-1]
        seed = next((folder for folder in folders if SEED.fullmatch(folder)), "loss")
        training = " / ".join(folder for folder in folders if folder != seed) or path.parent.name
        table = read_own(path, LOSSES, "pcc train")
        parts = [name for name in table.columns if name not in LOSS_COLUMNS]
        for part in parts if len(parts) > 1 else ["loss"]:
            panel = f"{training}: {part.replace('_', ' ')}" if len(parts) > 1 else training
            line = table.dropna(subset=part)
            panels.setdefault(panel, {})[seed.replace("-", " ")] = (line["step"].to_numpy(), line[part].to_numpy())
    return charts.curves(panels, "Training losses")


def _noun_figures(nouns: Sequence[Path]) -> dict[str, Figure]:
    """Nearest nouns of each method's prompts, first seed."""
    figures: dict[str, Figure] = {}
    for path in nouns:
        method, seed = path.parts[-3:-1]
        if method not in figures:
            table = read_own(path, NOUNS, "pcc nouns")
            rows = [
                (str(name), float(found["cosine"].iloc[0]), list(zip(found["noun"], found["cosine"], strict=True))[1:])
                for name, found in table.groupby("class", sort=False)
            ]
            title = f"Nearest nouns of the learned prompts: {method}, {seed.replace('-', ' ')}"
            figures[method] = charts.nearest_nouns(rows, title)
    return figures


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
