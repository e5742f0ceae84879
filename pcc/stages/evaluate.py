"""Stage `evaluate`: maps, pseudo masks or predictions + ground truth → metrics.json and a contact sheet."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcc import metrics
from pcc.artifacts.clusters import read_clusters
from pcc.artifacts.provenance import Job
from pcc.data.manifest import Dataset, Manifest, manifest_files
from pcc.figures.canvas import save
from pcc.ids import BACKGROUND
from pcc.quality import INDICATORS, reliability_scores
from pcc.reporting.own_tables import QUALITY, read_own
from pcc.reporting.sheets import contact_sheet_of
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_json
from pcc.runtime.progress import log
from pcc.runtime.stage import stage
from pcc.scoring.counting import Counts, Scoring, count_all
from pcc.scoring.oracle import THRESHOLDS, confusion_by_threshold

POLICIES = {
    "maps": "ground truth 255: ignored",
    "pseudo_masks": "ground truth 255: ignored; pseudo mask 255: counted as background",
    "predictions": "ground truth 255: ignored; prediction 255: invalid",
}
WORST_IMAGES = 20
UNSCORED = "not scored: no image of this split has a ground-truth mask for scoring"


@stage(writes="file")
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
    """Score one step of an experiment with one confusion matrix over all scored images of a split.

    Maps are scored as their argmax at image size. The best constant background score, selected on ground truth, is
    reported as an oracle.

    Args:
        manifest: the data set's manifest.csv.
        inputs: one per shard: files of maps or folders of masks.
        output: metrics.json.
        kind: ``maps``, ``pseudo_masks`` or ``predictions``.
        split: ``train`` or ``val``.
        experiment: dataset, method, seed, localization, refinement, segmenter, supervision; None for skipped steps.
        clusters: clusters.json for the within- and between-cluster confusion.
        quality: quality.csv of these pseudo masks, to evaluate its reliability estimates.
        figure: contact sheet, JPEG or PNG.
        localization: settings of the localization, stored in metrics.json.
        refinement: settings of the refinement, likewise.
        segmenter: prediction settings of the segmenter, likewise.
        boundary_labels: settings of the refinement that labelled the boundary network's training data, likewise.
        initial_weights: initial weights of the last trained encoder.
        oracle: whether ground-truth masks selected anything upstream, such as a checkpoint.
        boundary_ratio: width of the boundary region, as a fraction of the image diagonal.
        sheet_images: number of images on the contact sheet, including the worst and the best.
        threads: processes.

    Raises:
        InputError: a missing prediction, or one whose size differs from its image.
    """
    if kind not in POLICIES:
        raise InputError(f"kind '{kind}' is not one of {', '.join(POLICIES)}")
    data = Manifest.read(manifest, split, unchanged=["image", "mask"])
    dataset, records = data.dataset, data.records
    scored = [record for record in records if record.mask is not None and record.scored]
    steps = {
        "localization": localization,
        "refinement": refinement,
        "boundary_labels": boundary_labels,
        "segmenter": segmenter,
    }
    how = {"kind": kind, "split": split, "boundary_ratio": boundary_ratio, "sheet_images": sheet_images}
    job = Job(how | steps, [*manifest_files(manifest), *inputs, *(path for path in (clusters, quality) if path)])
    scoring = Scoring(kind, dataset.num_classes, dataset.eval_ids, boundary_ratio, by_mask=quality is not None)
    counts = count_all(scoring, inputs, scored, threads)
    result = {
        "experiment": dict(experiment),
        "kind": kind,
        "split": split,
        "ground_truth": ", ".join(sorted({record.mask.parent.as_posix() for record in scored if record.mask})),
        "num_images": len(scored),
        "settings": {
            **augmentation(experiment, steps),
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
        "quality": None if quality is None else _reliability(quality, counts),
        "oracle_threshold": oracle_threshold(counts, scoring.scored) if kind == "maps" and scored else None,
    }
    if figure is not None:
        save(
            contact_sheet_of(scoring, inputs, scored or records, dataset.classes, result, counts.scores, sheet_images),
            figure,
        )
    write_json(output, result)
    job.write_provenance(output, [output, *([figure] if figure else [])], experiment=dict(experiment))
    log.info("%s", f"mIoU {100 * result['mean_iou']:.2f} % over {len(scored)} images" if scored else UNSCORED)


def scores(dataset: Dataset, counts: Counts, clusters: Path | None) -> dict[str, Any]:
    """The metrics in metrics.json; None where undefined."""
    confusion, ids = counts.confusion, dataset.eval_ids
    names = (BACKGROUND, *dataset.classes)
    boundary = metrics.boundary_iou(counts.boundary)[list(ids)]
    within, between = (
        metrics.cluster_confusion(confusion, cluster_ids(dataset, clusters)) if clusters else (math.nan, math.nan)
    )
    return {
        "classes": list(names),
        "eval_classes": [names[i] for i in ids],
        "confusion_matrix": confusion.tolist(),
        **{
            name: {c: _or_none(v) for c, v in zip(names, ratio(confusion).tolist(), strict=True)}
            for name, ratio in (("iou", metrics.iou), ("precision", metrics.precision), ("recall", metrics.recall))
        },
        "mean_iou": _or_none(metrics.mean_iou(confusion, ids)),
        "pixel_accuracy": _or_none(metrics.pixel_accuracy(confusion)),
        "boundary_iou": None if np.isnan(boundary).all() else float(np.nanmean(boundary)),
        "within_cluster_confusion": _or_none(within),
        "between_cluster_confusion": _or_none(between),
    }


def _worst_images(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Ids and mean IoU of the worst images; images without a scored class are skipped."""
    known = [(image_id, score) for image_id, score in scores.items() if not math.isnan(score)]
    return sorted(known, key=lambda found: (found[1], found[0]))[:WORST_IMAGES]


def _reliability(quality: Path, counts: Counts) -> dict[str, Any] | None:
    """`reliability_scores` of the confidence and of each indicator, over masks in both; None if there are none."""
    table = read_own(quality, QUALITY | dict.fromkeys(INDICATORS, float), "pcc quality")
    keys = list(zip(table["image_id"], table["class_id"], strict=True))
    table = table[[key in counts.masks for key in keys]]
    if table.empty:
        return None
    intersection, union = np.array([counts.masks[key] for key in keys if key in counts.masks]).T
    found = {
        name: reliability_scores(table[name].to_numpy(), intersection, union, table["image_id"].tolist())
        for name in ("confidence", *INDICATORS)
        if table[name].notna().all()
    }
    confidence = found.pop("confidence")
    return {**confidence, "spearman_by_sign": {name: scores["spearman"] for name, scores in found.items()}}


def cluster_ids(dataset: Dataset, clusters: Path) -> list[list[int]]:
    """Clusters as class ids.

    Raises:
        InputError: unknown class names.
    """
    groups = read_clusters(clusters)
    if unknown := sorted({name for group in groups for name in group} - set(dataset.classes)):
        raise InputError(f"{clusters}: unknown classes {', '.join(unknown)}; rerun `pcc clusters`")
    return [[1 + dataset.classes.index(name) for name in group] for group in groups]


def oracle_threshold(counts: Counts, ids: Sequence[int]) -> dict[str, Any]:
    """The best constant background score for the maps (oracle), and mIoU by threshold."""
    curve = [metrics.mean_iou(matrix, ids) for matrix in confusion_by_threshold(counts.sweep)]
    best = int(np.argmax(curve))
    return {
        "threshold": THRESHOLDS[best],
        "mean_iou": curve[best],
        "oracle": True,
        "curve": {"thresholds": list(THRESHOLDS), "mean_iou": curve},
    }


def augmentation(experiment: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Scales, flip and CRF of the scored step; None where not set."""
    step = steps["segmenter"] or steps["localization"] or {}
    refinement = steps["refinement"] or {}
    refined_by = refinement.get("type", experiment.get("refinement"))
    crf = bool(step.get("crf")) if steps["segmenter"] is not None else refined_by == "crf"
    return {"scales": step.get("scales"), "flip": step.get("flip"), "crf": crf}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
