"""Estimate the reliability of each pseudo mask, class by class, without ground truth."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pcc.artifacts.clusters import read_clusters
from pcc.artifacts.maps import Maps, read_maps
from pcc.artifacts.masks import read_mask
from pcc.artifacts.provenance import Job
from pcc.data.manifest import Manifest, manifest_files
from pcc.data.tables import guarded
from pcc.maps import argmax_one_hot, soft_iou
from pcc.quality import CONFIDENCE_INDICATORS, INDICATORS, area_typicality, certainty, pixel_fractions
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text
from pcc.runtime.progress import track
from pcc.runtime.stage import stage


@stage(writes="file")
def quality(
    manifest: Path, maps: Sequence[Path], masks: Sequence[Path], output: Path, *, clusters: Path | None = None
) -> None:
    """Write quality.csv: one row per image and label, with reliability indicators in [0, 1] and ``confidence``.

    ``confidence`` is the mean of ``refined`` (soft IoU of the maps' argmax and the pseudo mask) and ``certainty``
    (1 − normalised entropy of the maps inside the class). The other indicators are informative, and empty if not
    available: ``plain`` (IoU of the argmax before and after grouping), ``mirrored`` (soft IoU of the maps of the image
    and its flip) and ``usual_area`` (typicality of the class's area within its cluster).

    Args:
        manifest: manifest.csv.
        maps: shards of the refined localization maps.
        masks: folders of pseudo masks, one per shard of maps.
        output: CSV file.
        clusters: clusters.json; areas of classes outside all clusters are compared within the class.
    """
    if len(maps) != len(masks):
        raise InputError(f"{len(maps)} --maps and {len(masks)} --masks; pass one folder of masks per shard")
    job = Job({}, [*manifest_files(manifest), *maps, *masks, *([clusters] if clusters else [])])
    dataset = Manifest.read(manifest).dataset
    rows = [
        row
        for shard, folder in track(list(zip(maps, masks, strict=True)), "quality by shard")
        for row in _rows(shard, folder)
    ]
    groups = {
        name: number
        for number, cluster in enumerate([] if clusters is None else read_clusters(clusters))
        for name in cluster
    }
    table = pd.DataFrame(rows, columns=["image_id", "class_id", "area", *INDICATORS[:-1]])
    names = [dataset.classes[class_id - 1] for class_id in table["class_id"]]
    table.insert(1, "class", names)
    table["usual_area"] = area_typicality(table["area"].to_numpy(), [groups.get(name, name) for name in names])
    table.insert(3, "confidence", table[list(CONFIDENCE_INDICATORS)].mean(axis=1))
    write_text(output, table.map(guarded).to_csv(index=False, float_format="%.4f"))
    job.write_provenance(output)


def _rows(shard: Path, folder: Path) -> Iterator[dict[str, Any]]:
    for image_id, maps in read_maps(shard):
        mask = folder / f"{image_id}.png"
        if not mask.is_file():
            raise InputError(f"{mask}: mask is missing; rerun `pcc pseudo_masks`")
        yield from _indicators(image_id, maps, mask)


def _indicators(image_id: str, maps: Maps, mask: Path) -> Iterator[dict[str, Any]]:
    grid = (maps.values.shape[1], maps.values.shape[2])
    inside = pixel_fractions(read_mask(mask), maps.classes, grid)
    values = {
        "area": inside.mean((1, 2)),
        "refined": soft_iou(argmax_one_hot(maps.values), inside).nan_to_num(0.0),  # NaN: absent from both
        "certainty": certainty(maps.values, inside).nan_to_num(0.0),
        **{name: torch.tensor(alike) for name, alike in maps.agreements.items()},
    }
    for channel, class_id in enumerate(maps.classes):
        if class_id:
            yield {"image_id": image_id, "class_id": class_id} | {
                name: float(value[channel]) for name, value in values.items()
            }
