"""Refine one shard of localization maps into pseudo masks."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from pcc.artifacts.maps import Maps, read_maps
from pcc.artifacts.masks import write_mask
from pcc.artifacts.provenance import Job
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, manifest_files
from pcc.ids import IGNORE
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import publish, resumable_directory
from pcc.runtime.hardware import device
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.plugins import load_attribute
from pcc.runtime.progress import track
from pcc.runtime.stage import stage

GPU_BATCH = 16  # images, for refinements with `refine_batch`


class Item(NamedTuple):
    """Inputs of one image.

    Attributes:
        image_id: image id.
        path: image file.
        maps: localization maps.
        boundary: class boundaries, for the random walk.
    """

    image_id: str
    path: Path
    maps: Maps
    boundary: Tensor | None


@stage(writes="folder")
def pseudo_masks(
    manifest: Path,
    maps: Path,
    output: Path,
    *,
    type: str,
    shard: str | None = None,
    boundaries: Path | None = None,
    threads: int = 1,
    **settings: Any,
) -> None:
    """Write one palette PNG per image: 0 for background, ids of the image's labels, 255 for ignored pixels.

    Args:
        manifest: manifest.csv.
        maps: shard of localization maps.
        output: folder of masks.
        type: module of `pcc.refine` with a ``refine`` function, such as ``argmax`` or ``crf``.
        shard: shard index within the training split; None searches all shards.
        boundaries: class boundaries of the shard, for the random walk.
        threads: processes; random walks use the GPU if available.
        settings: settings of the refinement.
    """
    load_attribute("pcc.refine", type, "refine", "refinements: type")
    data = Manifest.read(manifest, "train", shard, unchanged=["image"])
    images = {record.image_id: record.image for record in data.records}
    job = Job({"type": type, **settings}, [*manifest_files(manifest), maps, *([boundaries] if boundaries else [])])
    with resumable_directory(output, job.key) as work:
        todo = list(_todo(maps, boundaries, images, work))
        size = _batch_size(type, boundaries)
        jobs = [todo[start : start + size] for start in range(0, len(todo), size)]
        refine = partial(_refine_batch if size > 1 else _refine_each, type, settings, work)
        done = map_in_processes(refine, jobs, 1 if size > 1 else threads)
        for _ in track(done, f"refine {type}", len(jobs)):
            pass
        job.write_provenance(work)
        publish(work, output)


def _todo(maps: Path, boundaries: Path | None, images: Mapping[str, Path], work: Path) -> Iterator[Item]:
    """Items without a mask yet; a shard of maps fits in memory at grid resolution."""
    by_image = {} if boundaries is None else {i: found.values[0] for i, found in read_maps(boundaries)}
    for image_id, stored in read_maps(maps):
        if image_id not in images:
            raise InputError(f"{maps}: image {image_id} is not in the manifest; rerun `pcc localize`")
        if not (work / f"{image_id}.png").exists():
            if boundaries is not None and image_id not in by_image:
                raise InputError(f"{boundaries}: image {image_id} is missing; rerun `pcc boundaries`")
            yield Item(image_id, images[image_id], stored, by_image.get(image_id))


def _batch_size(type: str, boundaries: Path | None) -> int:
    """Batches keep a GPU busy; refinements without `refine_batch` run on CPU processes."""
    module = importlib.import_module(f"pcc.refine.{type}")
    return GPU_BATCH if boundaries and device() == "cuda" and hasattr(module, "refine_batch") else 1


def _refine_each(type: str, settings: Mapping[str, Any], work: Path, items: Sequence[Item]) -> None:
    refine = load_attribute("pcc.refine", type, "refine", "refinements: type")
    for item in items:
        boundary = {} if item.boundary is None else {"boundary": item.boundary}
        given = {"image": read_image(item.path), "maps": item.maps.values, **boundary}
        _write(work, item, call_with(refine, settings, f"refinement {type}", **given))


def _refine_batch(type: str, settings: Mapping[str, Any], work: Path, items: Sequence[Item]) -> None:
    refine_batch = load_attribute("pcc.refine", type, "refine_batch", "refinements: boundary: type")
    given = {
        "images": [read_image(item.path) for item in items],
        "maps": [item.maps.values.to(device()) for item in items],
        "boundaries": [item.boundary.to(device()) for item in items if item.boundary is not None],
    }
    masks = call_with(refine_batch, settings, f"refinement {type}", **given)
    for item, channels in zip(items, masks, strict=True):
        _write(work, item, channels)


def _write(work: Path, item: Item, channels: UInt8[np.ndarray, "H W"]) -> None:
    """Map channel indices to class ids and write the mask."""
    class_ids = np.full(256, IGNORE, dtype=np.uint8)
    class_ids[: len(item.maps.classes)] = item.maps.classes
    write_mask(work / f"{item.image_id}.png", class_ids[channels])
