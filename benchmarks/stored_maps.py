"""Bytes per image of the maps that `pcc localize` stores, against fp32 .npy files of the same maps at the image's size.

Real photographs at four scales with their mirror images, as SIPE and IRN see them, with the workflow's classifier. One
scale alone misses the agreement by a little, on any grid tried: docs/decisions/0012-stored-maps.md has figures. Both
sides come from the same raw maps: those that the network gave for the stored maps are also brought to the image's
own size one by one, added up, and only then made into maps. The masks of both must agree in 99.5 % of all pixels.
"""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import real
import torch
from measure import Claim, end, quietly
from torch import Tensor

from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.data.images import image_size, read_image
from pcc.data.manifest import Manifest, Record
from pcc.data.tensors import image_tensor
from pcc.localizations.cam import Localization
from pcc.maps import merge_tta, to_mask
from pcc.methods.base import Method
from pcc.methods.loading import load_classifier
from pcc.runtime.hardware import autocast, keep_freed_memory

IMAGES = 80
SHARE, AGREEMENT = 1 / 30, 0.995
ROWS: dict[str, tuple[Sequence[float], int | None, int | None]] = {  # scales, side, stride
    "4 scales and flip, own size": ((1.0, 0.5, 1.5, 2.0), None, None)
}


def both(
    method: Method, data: Manifest, record: Record, scales: Sequence[float], side: int | None, stride: int | None
) -> tuple[Maps, Tensor]:
    """What is stored of an image, and the same maps made at its own size."""
    size = image_size(record.image)
    images = image_tensor(read_image(record.image), size if side is None else (side, side))[None]
    labels = torch.from_numpy(data.image_labels(record))[None]
    seen: list[Tensor] = []  # per scale: raw maps of the images, then of their flips
    hook = method.classifier.register_forward_hook(lambda _module, _given, result: seen.append(result))
    maps = Localization(method, scales=scales, flip=True, stride=stride)(images, labels)[0].float()
    hook.remove()
    views = [(one + other.flip(-1)) / 2 for one, other in zip(seen[::2], seen[1::2], strict=True)]
    whole = method.to_maps(merge_tta([view.float() for view in views], size), labels)[0].float()
    classes = [0, *data.class_ids(record)]
    return Maps(tuple(classes), maps[classes], size), whole[classes]


def npy_bytes(maps: Tensor) -> int:
    """Size of the file that ``np.save`` makes."""
    file = io.BytesIO()
    np.save(file, maps.numpy())
    return len(file.getvalue())


def compare(name: str, method: Method, data: Manifest, records: Sequence[Record]) -> Claim:
    """One row."""
    strongest: dict[str, np.ndarray] = {}
    stored: dict[str, Maps] = {}
    theirs = 0
    for record in records:
        with torch.inference_mode(), autocast("auto"):
            maps, whole = both(method, data, record, *ROWS[name])
        stored[record.image_id] = maps
        strongest[record.image_id] = np.array(maps.classes)[whole.argmax(dim=0).numpy()].astype(np.uint8)
        theirs += npy_bytes(whole)
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "000.safetensors"
        write_maps(shard, stored)
        ours = shard.stat().st_size
        masks = {i: to_mask(m.values, m.classes, m.size) for i, m in read_maps(shard)}
    same = [(masks[i] == strongest[i]).mean() for i in masks]
    pixels = np.average(same, weights=[mask.size for mask in masks.values()])
    facts: dict[str, Any] = {
        "images": len(records),
        "maps per image": f"{np.mean([len(m.classes) for m in stored.values()]):.2f} (background and tags)",
        "bytes per image": f"{ours / len(records):,.0f} and {theirs / len(records):,.0f}, 1/{theirs / ours:.0f}",
        "pixels that agree": f"{pixels:.3%}",
        "image that agrees least": f"{min(same):.2%}",
    }
    return Claim(f"stored maps, {name}", ours / theirs, SHARE, "lower", bool(pixels >= AGREEMENT), facts=facts)


def main() -> None:
    """Images are taken from all over the training split."""
    quietly()
    keep_freed_memory()
    real.workflow(real.CLASSIFIER / "weights.safetensors")
    data, method = real.training_images(), load_classifier(real.CLASSIFIER)
    records = data.records[:: len(data.records) // IMAGES][:IMAGES]
    end([compare(name, method, data, records) for name in ROWS])


if __name__ == "__main__":
    main()
