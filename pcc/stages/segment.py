"""Predict the masks of one shard of validation images at image size."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from pcc.artifacts.masks import write_mask
from pcc.artifacts.networks import DESCRIPTION, WEIGHTS
from pcc.artifacts.provenance import Job
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record, manifest_files
from pcc.deployment.predictor import Prediction, Predictor, post_process, to_class_ids
from pcc.ids import BACKGROUND
from pcc.models.segmenter import load_segmenter
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import publish, resumable_directory
from pcc.runtime.hardware import device
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import track
from pcc.runtime.stage import stage

Seen = tuple[Record, UInt8[np.ndarray, "H W 3"], Tensor]


@stage(writes="folder")
def segment(
    manifest: Path, segmenter: Path, output: Path, *, shard: str, split: str = "val", threads: int = 1, **settings: Any
) -> None:
    """Write one palette PNG per image: argmax of the probabilities, merged over scales and flips.

    Args:
        manifest: manifest.csv.
        segmenter: folder of the trained segmenter.
        output: folder of the predictions.
        shard: shard index within the split.
        split: ``train`` or ``val``.
        threads: CPU threads; processes for the CRF.
        settings: settings of `Prediction`.
    """
    chosen = call_with(Prediction, settings, "segmenters: prediction")
    inputs = [*manifest_files(manifest), segmenter / WEIGHTS, segmenter / DESCRIPTION]
    job = Job({**asdict(chosen), "split": split}, inputs, shard=shard)
    data = Manifest.read(manifest, split, shard, unchanged=["image"])
    network = load_segmenter(segmenter).to(device())
    predictor = Predictor(network, chosen, (BACKGROUND, *data.dataset.classes))

    def seen(record: Record) -> Seen:
        image = read_image(record.image)
        try:
            return record, image, predictor.probabilities(image[None])[0]
        except InputError as error:
            raise InputError(f"{segmenter}: {record.image_id}: {error}") from error

    with resumable_directory(output, job.key) as work:
        todo = [record for record in data.records if not (work / f"{record.image_id}.png").exists()]
        write = partial(_write, work, chosen.crf)
        # The CRF is usually slower than the network, so it gets the processes.
        finished = map_in_processes(write, map(seen, todo), threads) if chosen.crf else map(write, map(seen, todo))
        for _ in track(finished, f"segment {shard}", len(todo)):
            pass
        job.write_provenance(work)
        publish(work, output)


def _write(work: Path, crf: Mapping[str, Any] | None, seen: Seen) -> None:
    record, image, probabilities = seen
    write_mask(work / f"{record.image_id}.png", to_class_ids(post_process(image, probabilities, crf)))
