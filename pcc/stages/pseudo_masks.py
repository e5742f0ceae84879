"""Turn one shard of localization maps into pseudo masks."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pcc import artifacts
from pcc.artifacts import IGNORE, Maps
from pcc.data.images import read_image
from pcc.data.manifest import Manifest
from pcc.errors import InputError, call_with
from pcc.files import digest, publish, resumable_directory
from pcc.parallel import map_in_processes
from pcc.plugins import load_attribute
from pcc.progress import track

Item = tuple[str, Path, Maps, Mapping[str, Tensor]]


def pseudo_masks(
    manifest: Path,
    maps: Path,
    output: Path,
    *,
    type: str,
    boundaries: Path | None = None,
    threads: int = 1,
    code: str = "",
    **settings: Any,
) -> None:
    """Write one palette PNG per image: class ids of background and the image's own tags, 255 where left open.

    Args:
        manifest: manifest.csv.
        maps: a shard of localization maps.
        output: folder of the masks.
        type: ``argmax``, ``crf`` and so on: the name of a module of `pcc.refine` with a ``refine`` function.
        boundaries: the shard's class boundaries, for a refinement that walks between them.
        threads: processes.
        code: fingerprint of the stage's code.
        settings: of the refinement.
    """
    started = time.monotonic()
    load_attribute("pcc.refine", type, "refine", "refinements: type")
    images = {record.image_id: record.image for record in Manifest.read(manifest).select(split="train")}
    everything = {"type": type, **settings}
    inputs = [manifest, maps, *([boundaries] if boundaries else [])]
    key = {"settings": everything, "inputs": {str(p): digest(p) for p in inputs}, "code": code}
    with resumable_directory(output, key) as work:
        refine_one = partial(_refine_one, type, settings, work)
        todo = list(_todo(maps, boundaries, images, work))
        for _ in track(map_in_processes(refine_one, todo, threads), f"refine {type}", len(todo)):
            pass
        artifacts.write_provenance(
            work / "provenance.json", settings=everything, inputs=inputs, started=started, code=code
        )
        publish(work, output)


def _todo(maps: Path, boundaries: Path | None, images: Mapping[str, Path], work: Path) -> Iterator[Item]:
    """What a killed run has left to do; maps are small (grid resolution), so a shard of them fits in memory."""
    walls = {} if boundaries is None else {i: found.values[0] for i, found in artifacts.read_maps(boundaries)}
    for image_id, stored in artifacts.read_maps(maps):
        if image_id not in images:
            raise InputError(f"{maps}: image {image_id} is not in the manifest; run `pcc localize` again")
        if not (work / f"{image_id}.png").exists():
            if boundaries is not None and image_id not in walls:
                raise InputError(f"{boundaries}: image {image_id} is missing; run `pcc boundaries` again")
            given = {"boundary": walls[image_id]} if boundaries is not None else {}
            yield image_id, images[image_id], stored, given


def _refine_one(type: str, settings: Mapping[str, Any], work: Path, item: Item) -> None:
    image_id, path, stored, given = item
    refine = load_attribute("pcc.refine", type, "refine", "refinements: type")
    channels = call_with(
        refine, settings, f"refinement {type}", image=read_image(path), maps=stored.values, **given
    )
    class_ids = np.full(256, IGNORE, dtype=np.uint8)
    class_ids[: len(stored.classes)] = stored.classes
    artifacts.write_mask(work / f"{image_id}.png", class_ids[channels])
