"""Stage `evaluate`: maps, pseudo masks or predictions against true masks → metrics.json and a contact sheet."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pcc import metrics
from pcc.artifacts.clusters import read_clusters
from pcc.artifacts.provenance import Job
from pcc.data.manifest import Dataset, Manifest
from pcc.figures.canvas import save
from pcc.ids import BACKGROUND
from pcc.quality import INDICATORS, reliability_scores
from pcc.reporting.sheets import contact_sheet_of
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_json
from pcc.runtime.progress import log
from pcc.runtime.stage import stage
from pcc.scoring.counting import Counts, Scoring, count_all
from pcc.scoring.oracle import THRESHOLDS, confusion_by_threshold

POLICIES = {
    "maps": "true 255: pixel not counted",
    "pseudo_masks": "true 255: pixel not counted; pseudo mask 255: counted as background",
    "predictions": "true 255: pixel not counted; predicted 255: refused",
}
WORST_IMAGES = 20
UNSCORED = "no image of this split has a mask that may be scored: there is no score"


@stage
def evaluate(
    manifest: Path,
    inputs: Sequence[Path],
    output: Path,
    *,
    kind: str,
    split: str,
    experiment: Mapping[str, Any],
    clusters: Path | None = None,
    quality: Path | None = None,
    figure: Path | None = None,
    localization: Mapping[str, Any] | None = None,
    refinement: Mapping[str, Any] | None = None,
    segmenter: Mapping[str, Any] | None = None,
    boundary_labels: Mapping[str, Any] | None = None,
    initial_weights: str | None = None,
    oracle: bool = False,
    boundary_ratio: float = 0.02,
    sheet_images: int = 8,
    threads: int = 1,
) -> None:
    """Score one step of an experiment by one confusion matrix over all scored images of a split.

    Maps are scored as the argmax of their channels at the image's size; beside that stands the best constant
    background score, chosen with the true masks and marked as oracle.

    Args:
        manifest: the data set's manifest.csv.
        inputs: one per shard: files of maps, or folders of masks.
        output: the metrics.json to write.
        kind: what the inputs hold: ``maps``, ``pseudo_masks`` or ``predictions``.
        split: ``train`` or ``val``.
        experiment: dataset, method, seed, localization, refinement, segmenter, supervision; None where not taken.
        clusters: the partition that confusion is told apart by; none when not given.
        quality: quality.csv of these pseudo masks; how well it tells good masks from bad is scored too.
        figure: the contact sheet to write, JPEG or PNG.
        localization: settings of that step, kept beside the numbers.
        refinement: likewise.
        segmenter: likewise, of its prediction.
        boundary_labels: likewise, of the refinement whose masks the random walk's boundaries were learned from.
        initial_weights: of the last trained network's encoder.
        oracle: whether true masks chose anything on the way here, such as the epoch a classifier was taken from.
        boundary_ratio: width of the boundary region, as a share of the image's diagonal.
        sheet_images: images on the contact sheet, the worst and the best among them.
        threads: processes.

    Raises:
        InputError: images to score without a prediction, or predictions that do not fit their image.
    """
    if kind not in POLICIES:
        raise InputError(f"kind '{kind}' is not one of {', '.join(POLICIES)}")
    data = Manifest.read(manifest, split)
    dataset, records = data.dataset, data.records
    scored = [record for record in records if record.mask is not None and record.scored]
    steps = {
        "localization": localization,
        "refinement": refinement,
        "boundary_labels": boundary_labels,
        "segmenter": segmenter,
    }
    how = {"kind": kind, "split": split, "boundary_ratio": boundary_ratio, "sheet_images": sheet_images}
    job = Job(how | steps, [manifest, *inputs, *(path for path in (clusters, quality) if path)])
    scoring = Scoring(
        kind, dataset.num_classes, dataset.eval_ids, boundary_ratio, by_mask=quality is not None
    )
    counts = count_all(scoring, inputs, scored, threads)
    result = {
        "experiment": dict(experiment),
        "kind": kind,
        "split": split,
        "ground_truth": ", ".join(
            sorted({record.mask.parent.as_posix() for record in scored if record.mask})
        ),
        "num_images": len(scored),
        "settings": {
            **views(experiment, steps),
            "initial_weights": initial_weights,
            **{name: step for name, step in steps.items() if step is not None},
        },
        "labels_at_inference": kind != "predictions",
        "oracle": oracle,
        "ignore_policy": POLICIES[kind],
        "note": None if scored else UNSCORED,
        **scores(dataset, counts, clusters),
        "clusters": read_clusters(clusters) if clusters else None,
        "worst_images": _worst_images(counts.scores),
        "quality": None if quality is None else _trust(quality, counts),
        "oracle_threshold": oracle_threshold(counts, scoring.scored) if kind == "maps" and scored else None,
    }
    if figure is not None:
        save(
            contact_sheet_of(
                scoring, inputs, scored or records, dataset.classes, result, counts.scores, sheet_images
            ),
            figure,
        )
    write_json(output, result)
    job.write_provenance(output.with_suffix(".provenance.json"), experiment=dict(experiment))
    log.info("%s", f"mIoU {100 * result['mean_iou']:.2f} % over {len(scored)} images" if scored else UNSCORED)


def scores(dataset: Dataset, counts: Counts, clusters: Path | None) -> dict[str, Any]:
    """The ratios that metrics.json holds, None where there is nothing to divide by."""
    confusion, ids = counts.confusion, dataset.eval_ids
    names = (BACKGROUND, *dataset.classes)
    boundary = metrics.boundary_iou(counts.boundary)[list(ids)]
    within, between = (
        metrics.cluster_confusion(confusion, cluster_ids(dataset, clusters))
        if clusters
        else (math.nan, math.nan)
    )
    return {
        "classes": list(names),
        "eval_classes": [names[i] for i in ids],
        "confusion_matrix": confusion.tolist(),
        **{
            name: {c: _or_none(v) for c, v in zip(names, ratio(confusion).tolist(), strict=True)}
            for name, ratio in (
                ("iou", metrics.iou),
                ("precision", metrics.precision),
                ("recall", metrics.recall),
            )
        },
        "mean_iou": _or_none(metrics.mean_iou(confusion, ids)),
        "pixel_accuracy": _or_none(metrics.pixel_accuracy(confusion)),
        "boundary_iou": None if np.isnan(boundary).all() else float(np.nanmean(boundary)),
        "within_cluster_confusion": _or_none(within),
        "between_cluster_confusion": _or_none(between),
    }


def _worst_images(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Ids and mean IoU, the worst first; an image without any scored class has none."""
    known = [(image_id, score) for image_id, score in scores.items() if not math.isnan(score)]
    return sorted(known, key=lambda found: (found[1], found[0]))[:WORST_IMAGES]


def _trust(quality: Path, counts: Counts) -> dict[str, Any] | None:
    """`reliability_scores` of the confidence and of each sign, over the masks that are in both; None without any."""
    table = pd.read_csv(quality, dtype={"image_id": str})
    keys = list(zip(table["image_id"], table["class_id"], strict=True))
    table = table[[key in counts.masks for key in keys]]
    if table.empty:
        return None
    shared, either = np.array([counts.masks[key] for key in keys if key in counts.masks]).T
    worth = {
        sign: reliability_scores(table[sign].to_numpy(), shared, either, table["image_id"].tolist())
        for sign in ("confidence", *INDICATORS)
        if table[sign].notna().all()
    }
    return {**worth.pop("confidence"), "spearman_by_sign": {sign: w["spearman"] for sign, w in worth.items()}}


def cluster_ids(dataset: Dataset, clusters: Path) -> list[list[int]]:
    """The partition as class ids.

    Raises:
        InputError: it names a class that the data set does not have.
    """
    groups = read_clusters(clusters)
    if unknown := sorted({name for group in groups for name in group} - set(dataset.classes)):
        raise InputError(
            f"{clusters}: {', '.join(unknown)} not among the data set's classes; run `pcc clusters` again"
        )
    return [[1 + dataset.classes.index(name) for name in group] for group in groups]


def oracle_threshold(counts: Counts, ids: Sequence[int]) -> dict[str, Any]:
    """The best constant background score for the maps, and the whole curve it was picked from."""
    curve = [metrics.mean_iou(matrix, ids) for matrix in confusion_by_threshold(counts.sweep)]
    best = int(np.argmax(curve))
    return {
        "threshold": THRESHOLDS[best],
        "mean_iou": curve[best],
        "oracle": True,
        "curve": {"thresholds": list(THRESHOLDS), "mean_iou": curve},
    }


def views(experiment: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Scales, flip and CRF that the scored step's own output went through; None where the settings do not say."""
    step = steps["segmenter"] or steps["localization"] or {}
    refinement = steps["refinement"] or {}
    refined_by = refinement.get("type", experiment.get("refinement"))
    crf = bool(step.get("crf")) if steps["segmenter"] is not None else refined_by == "crf"
    return {"scales": step.get("scales"), "flip": step.get("flip"), "crf": crf}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
