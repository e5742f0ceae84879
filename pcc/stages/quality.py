"""Say how far each image's pseudo mask may be trusted, class by class, without any true mask."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pcc.artifacts.clusters import read_clusters
from pcc.artifacts.maps import Maps, read_maps
from pcc.artifacts.masks import read_mask
from pcc.artifacts.provenance import Job
from pcc.data.manifest import Manifest
from pcc.maps import argmax_one_hot, soft_iou
from pcc.quality import CONFIDENCE_INDICATORS, INDICATORS, area_typicality, certainty, pixel_fractions
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text
from pcc.runtime.progress import track
from pcc.runtime.stage import stage


@stage
def quality(
    manifest: Path,
    maps: Sequence[Path],
    masks: Sequence[Path],
    output: Path,
    *,
    clusters: Path | None = None,
) -> None:
    """Write quality.csv: a row per image and class of its tags, with signs of trust, and ``confidence``.

    refined: soft IoU of what the maps decide and the refined mask. certainty: one less the relative entropy of the
    maps inside the class. ``confidence`` is the mean of these two. The others stand beside it to be looked at, empty
    where they could not be had. plain: IoU of what the maps decide and what the method's own maps do, where they were
    grouped. mirrored: soft IoU of the method's maps of the image and of its mirror image. usual_area: how usual the
    class's area is among those of its cluster.

    Args:
        manifest: manifest.csv.
        maps: shards of the localization that was refined.
        masks: folders of pseudo masks, one for each shard of maps.
        output: the table.
        clusters: clusters.json; without it, or outside all clusters, areas are compared within a class.
    """
    if len(maps) != len(masks):
        raise InputError(
            f"{len(maps)} --maps and {len(masks)} --masks; give one folder of masks for each shard"
        )
    job = Job({}, [manifest, *maps, *masks, *([clusters] if clusters else [])])
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
    table["usual_area"] = area_typicality(
        table["area"].to_numpy(), [groups.get(name, name) for name in names]
    )
    table.insert(3, "confidence", table[list(CONFIDENCE_INDICATORS)].mean(axis=1))
    write_text(output, table.to_csv(index=False, float_format="%.4f"))
    job.write_provenance(output.with_suffix(".provenance.json"))


def _rows(shard: Path, folder: Path) -> Iterator[dict[str, Any]]:
    for image_id, maps in read_maps(shard):
        mask = folder / f"{image_id}.png"
        if not mask.is_file():
            raise InputError(f"{mask}: mask is missing; rerun `pcc pseudo_masks`")
        yield from _signs(image_id, maps, mask)


def _signs(image_id: str, maps: Maps, mask: Path) -> Iterator[dict[str, Any]]:
    grid = (maps.values.shape[1], maps.values.shape[2])
    inside = pixel_fractions(read_mask(mask), maps.classes, grid)
    signs = {
        "area": inside.mean((1, 2)),
        "refined": soft_iou(argmax_one_hot(maps.values), inside).nan_to_num(0.0),  # found nowhere by either
        "certainty": certainty(maps.values, inside).nan_to_num(0.0),
        **{name: torch.tensor(alike) for name, alike in maps.agreements.items()},
    }
    for channel, class_id in enumerate(maps.classes):
        if class_id:
            yield {"image_id": image_id, "class_id": class_id} | {
                n: float(v[channel]) for n, v in signs.items()
            }
