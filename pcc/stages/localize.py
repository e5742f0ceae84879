"""Extract localization maps of one shard of training images to disk."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pcc.artifacts.maps import Maps
from pcc.artifacts.provenance import write_provenance
from pcc.artifacts.shards import write_shard
from pcc.data.images import image_size as own_size
from pcc.data.manifest import Manifest, Record
from pcc.data.tensors import image_tensor
from pcc.localizations.cam import Localization
from pcc.methods.loading import load_classifier
from pcc.models.backbones import Backbone
from pcc.models.folding import fold_batch_norms
from pcc.runtime.errors import call_with
from pcc.runtime.files import digest
from pcc.runtime.hardware import Precision, autocast, device, keep_freed_memory, resolve_precision
from pcc.runtime.plugins import load_attribute

Batch = list[tuple[Record, tuple[int, int]]]


def localize(
    manifest: Path,
    classifier: Path,
    output: Path,
    *,
    shard: str,
    type: str,
    image_size: int | None,
    resize: Literal["square", "keep"] = "square",
    batch_size: int = 8,
    precision: Precision = "no",
    threads: int = 1,  # noqa: ARG001 - every stage has it; torch was told
    code: str = "",
    **settings: Any,
) -> None:
    """Write the maps of background and of each image's own classes, fp16 at grid resolution.

    Args:
        manifest: manifest.csv.
        classifier: folder of the trained method.
        output: the shard's safetensors file.
        shard: number of the shard within the training split.
        type: ``cam``, ``iscam``: the name of a module of `pcc.localizations`.
        image_size: side of the square, or the longer side, that scale 1 sees, pixels; None with ``resize: keep``: the
            image's own.
        resize: ``square`` squeezes every image into a square; ``keep`` keeps its shape.
        batch_size: images of one size at a time.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 where the hardware has it.
        threads: CPU threads.
        code: fingerprint of the stage's code.
        settings: of the localization.
    """
    started = time.monotonic()
    data, method = Manifest.read(manifest, "train", shard), load_classifier(classifier)
    patch = method.backbone.multiple_of
    localization = load_attribute("pcc.localizations", type, "Localization", "localizations: type")
    localizer = call_with(localization, settings, f"localization {type}", method=method, multiple_of=patch)
    localizer.eval().requires_grad_(False).to(device())
    keep_freed_memory()
    if resolve_precision(precision) == "no":
        _fold_batch_norms(localizer)
    everything = {
        "type": type,
        "image_size": image_size,
        "resize": resize,
        "batch_size": batch_size,
        "precision": precision,
        **settings,
    }
    inputs = [manifest, classifier / "weights.safetensors", classifier / "model.json"]
    key = {
        "settings": everything,
        "inputs": {str(p): digest(p) for p in inputs},
        "code": code,
        "shard": shard,
    }

    def compute(batch: Batch) -> dict[str, Maps]:
        with torch.inference_mode(), autocast(precision):
            return _localize(localizer, data, batch)

    write_shard(
        output,
        key,
        list(_batches(data.records, image_size, resize, patch, batch_size)),
        compute,
        [record.image_id for record in data.records],
        f"localize {type} {shard}",
    )
    write_provenance(
        output.with_suffix(".provenance.json"),
        settings=everything,
        inputs=inputs,
        started=started,
        code=code,
        shard=shard,
    )


def _fold_batch_norms(localizer: Localization) -> None:
    """Of every backbone: the method's, and a second one for grouping."""
    for holder in list(localizer.modules()):
        for name, child in list(holder.named_children()):
            if isinstance(child, Backbone):
                example = torch.rand(1, 3, child.small_side, child.small_side, device=child.mean.device)
                setattr(holder, name, fold_batch_norms(child, example))


def _localize(localizer: Localization, data: Manifest, batch: Batch) -> dict[str, Maps]:
    images = torch.stack([image_tensor(record.image, size) for record, size in batch]).to(device())
    labels = torch.stack([torch.from_numpy(data.image_labels(record)) for record, _ in batch]).to(device())
    maps: Tensor = localizer(images, labels).float().cpu()
    agreements = {name: alike.cpu() for name, alike in localizer.agreements.items()}
    stored = {}
    for number, (record, _) in enumerate(batch):
        classes = [0, *data.class_ids(record)]
        alike = {name: tuple(found[number, classes].tolist()) for name, found in agreements.items()}
        size = own_size(record.image)
        stored[record.image_id] = Maps(tuple(classes), maps[number, classes], size, alike)
    return stored


def _batches(
    records: Sequence[Record], side: int | None, resize: str, multiple: int, batch_size: int
) -> Iterator[Batch]:
    """Images of one target size together, sizes in a fixed order."""
    by_size: dict[tuple[int, int], Batch] = {}
    for record in records:
        own = own_size(record.image)
        size = (side or max(own),) * 2 if resize == "square" else _kept_shape(own, side or max(own))
        size = (_round_to(size[0], multiple), _round_to(size[1], multiple))
        by_size.setdefault(size, []).append((record, size))
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]


def _kept_shape(size: tuple[int, int], side: int) -> tuple[int, int]:
    factor = side / max(size)
    return round(size[0] * factor), round(size[1] * factor)


def _round_to(side: int, multiple: int) -> int:
    return max(1, round(side / multiple)) * multiple
