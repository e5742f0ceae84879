"""Extract localization maps of one shard of training images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from pcc.artifacts.maps import Maps
from pcc.artifacts.networks import DESCRIPTION, WEIGHTS
from pcc.artifacts.provenance import Job
from pcc.artifacts.shards import write_shard
from pcc.data.images import image_size as own_size
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record, manifest_files
from pcc.data.tensors import image_tensor
from pcc.deployment.localizer import Localizer, Size
from pcc.runtime.hardware import Precision
from pcc.runtime.settings import ImageCount, Pixels
from pcc.runtime.stage import stage

Batch = list[tuple[Record, Size]]


@stage(writes="file")
def localize(
    manifest: Path,
    classifier: Path,
    output: Path,
    *,
    shard: str,
    type: str,
    image_size: Pixels | None,
    resize: Literal["square", "keep"] = "square",
    batch_size: ImageCount = 8,
    precision: Precision = "no",
    **settings: Any,
) -> None:
    """Write fp16 maps of background and each image's labels at grid resolution.

    Args:
        manifest: manifest.csv.
        classifier: folder of the trained method.
        output: safetensors file of the shard.
        shard: shard index within the training split.
        type: module of `pcc.localizations`, such as ``cam`` or ``iscam``.
        image_size: side of the square, or the longer side, at scale 1; null with ``resize: keep``: the
            image's own size.
        resize: ``square`` squeezes every image into a square; ``keep`` keeps its aspect ratio.
        batch_size: images per forward pass.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 if supported.
        settings: settings of the localization.
    """
    inference = {"image_size": image_size, "resize": resize, "precision": precision, **settings}
    job = Job(
        {"type": type, "batch_size": batch_size, **inference},
        [*manifest_files(manifest), classifier / WEIGHTS, classifier / DESCRIPTION],
        shard=shard,
    )
    data = Manifest.read(manifest, "train", shard, unchanged=["image"])
    localizer = Localizer.load(classifier, type, **inference)

    def compute(batch: Batch) -> dict[str, Maps]:
        arrays = [read_image(record.image) for record, _ in batch]
        images = torch.stack([image_tensor(a, size) for a, (_, size) in zip(arrays, batch, strict=True)])
        labels = torch.stack([torch.from_numpy(data.image_labels(record)) for record, _ in batch])
        maps = localizer.localize(images, labels, [(a.shape[0], a.shape[1]) for a in arrays])
        return {record.image_id: found for (record, _), found in zip(batch, maps, strict=True)}

    write_shard(
        output,
        job.key,
        list(_batches(data.records, localizer, batch_size)),
        compute,
        [record.image_id for record in data.records],
        f"localize {type} {shard}",
    )
    job.write_provenance(output)


def _batches(records: Sequence[Record], localizer: Localizer, batch_size: int) -> Iterator[Batch]:
    """Batches of images of one input size, in a fixed order."""
    by_size: dict[Size, Batch] = {}
    for record in records:
        size = localizer.input_size(own_size(record.image))
        by_size.setdefault(size, []).append((record, size))
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]
