"""Predict the masks of one shard of validation images, at the images' own size."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pcc import artifacts
from pcc.data.images import image_size as own_size
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record
from pcc.data.samples import image_tensor
from pcc.errors import call_with
from pcc.files import digest, publish, resumable_directory
from pcc.hardware import Precision, autocast, device
from pcc.models.segmenter import Segmenter
from pcc.parallel import map_in_processes
from pcc.progress import track
from pcc.refine.crf import dense_crf
from pcc.stages.trained import load_segmenter


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
        probabilities = _probabilities(network, todo, image_size, scales, flip, precision)
        # The CRF costs more than the network on most machines, so it gets the processes.
        finished = (
            map_in_processes(partial(_write, work, crf), probabilities, threads)
            if crf
            else map(partial(_write, work, None), probabilities)
        )
        for _ in track(finished, f"segment {shard}", len(todo)):
            pass
        artifacts.write_provenance(
            work / "provenance.json",
            settings=settings,
            inputs=inputs,
            started=started,
            code=code,
            shard=shard,
        )
        publish(work, output)


def _probabilities(
    network: Segmenter,
    records: Sequence[Record],
    side: int | None,
    scales: Sequence[float],
    flip: bool,
    precision: Precision,
) -> Iterator[tuple[Record, Tensor]]:
    for record in records:
        size = own_size(record.image) if side is None else (side, side)
        total = torch.zeros(())
        for scale in scales:
            view = tuple(
                max(1, round(edge * scale / network.multiple_of)) * network.multiple_of for edge in size
            )
            images = image_tensor(record.image, (view[0], view[1]))[None].to(device())
            with torch.inference_mode(), autocast(precision):
                logits = network(torch.cat([images, images.flip(-1)]) if flip else images)
                seen = [logits[:1].softmax(1), *([logits[1:].softmax(1).flip(-1)] if flip else [])]
                for probabilities in seen:
                    total = total + functional.interpolate(
                        probabilities.float().cpu(),
                        own_size(record.image),
                        mode="bilinear",
                        align_corners=False,
                    )
        yield record, total[0] / (len(scales) * (1 + flip))


def _write(work: Path, crf: Mapping[str, Any] | None, item: tuple[Record, Tensor]) -> None:
    record, probabilities = item
    values = probabilities.numpy()
    if crf is not None:
        values = call_with(
            dense_crf, crf, "prediction.crf", image=read_image(record.image), probabilities=values
        )
    artifacts.write_mask(work / f"{record.image_id}.png", values.argmax(axis=0).astype(np.uint8))
