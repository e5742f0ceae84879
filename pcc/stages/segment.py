"""Predict the masks of one shard of validation images, at the images' own size."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pcc.artifacts.masks import write_mask
from pcc.artifacts.provenance import write_provenance
from pcc.data.manifest import Manifest, Record
from pcc.deployment.predictor import Views, class_probabilities, sharpened
from pcc.models.segmenter import load_segmenter
from pcc.runtime.files import digest, publish, resumable_directory
from pcc.runtime.hardware import Precision, device
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import track


def segment(
    manifest: Path,
    segmenter: Path,
    output: Path,
    *,
    shard: str,
    image_size: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    crf: Mapping[str, Any] | None = None,
    precision: Precision = "no",
    split: str = "val",
    threads: int = 1,
    code: str = "",
) -> None:
    """Write one palette PNG per image: the class of highest mean probability over scales and mirrored views.

    Args:
        manifest: manifest.csv.
        segmenter: folder of the trained network.
        output: folder of the predictions.
        shard: number of the shard within the split.
        image_size: side of the square that scale 1 sees, pixels; None keeps the image's own size.
        scales: sizes of the views, as factors.
        flip: whether each view is also seen mirrored.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 where the hardware has it.
        crf: settings of `pcc.refine.crf.dense_crf`; None leaves it out.
        split: which images.
        threads: CPU threads, or processes for the CRF.
        code: fingerprint of the stage's code.
    """
    started = time.monotonic()
    network = load_segmenter(segmenter)
    network.to(device())
    settings = {
        "image_size": image_size,
        "scales": list(scales),
        "flip": flip,
        "crf": crf,
        "precision": precision,
        "split": split,
    }
    inputs = [manifest, segmenter / "weights.safetensors", segmenter / "model.json"]
    key = {"settings": settings, "inputs": {str(p): digest(p) for p in inputs}, "code": code, "shard": shard}
    with resumable_directory(output, key) as work:
        records = Manifest.read(manifest, split, shard).records
        todo = [record for record in records if not (work / f"{record.image_id}.png").exists()]
        views = Views(image_size, scales, flip)
        probabilities = ((r, class_probabilities(network, r.image, views, precision)) for r in todo)
        # The CRF costs more than the network on most machines, so it gets the processes.
        finished = (
            map_in_processes(partial(_write, work, crf), probabilities, threads)
            if crf
            else map(partial(_write, work, None), probabilities)
        )
        for _ in track(finished, f"segment {shard}", len(todo)):
            pass
        write_provenance(
            work / "provenance.json",
            settings=settings,
            inputs=inputs,
            started=started,
            code=code,
            shard=shard,
        )
        publish(work, output)


def _write(work: Path, crf: Mapping[str, Any] | None, item: tuple[Record, Tensor]) -> None:
    record, probabilities = item
    values = sharpened(record.image, probabilities, crf)
    write_mask(work / f"{record.image_id}.png", values.argmax(axis=0).astype(np.uint8))
