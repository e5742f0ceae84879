"""Localization maps: one safetensors file per shard."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path


@dataclass(frozen=True)
class Maps:
    """The localization maps of one image.

    Attributes:
        classes: class id of each channel, 0 first.
        values: [k, h, w] at grid resolution.
        size: (height, width) of the image.
        agreements: consistency of each channel by indicator, see `pcc.localizations.cam.Localization`.
    """

    classes: tuple[int, ...]
    values: Float[Tensor, "k h w"]
    size: tuple[int, int]
    agreements: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def write_maps(path: Path, maps: Mapping[str, Maps]) -> None:
    """Write a shard: fp16 tensors by image id; class ids and image sizes in the metadata."""
    tensors = {image_id: m.values.to(torch.float16).contiguous() for image_id, m in maps.items()}
    images = {
        image_id: {"classes": list(m.classes), "size": list(m.size), "agreements": dict(m.agreements)}
        for image_id, m in maps.items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"images": json.dumps(images)})


def read_maps(path: Path) -> Iterator[tuple[str, Maps]]:
    """Stream ``(image_id, maps)`` from a shard, one image at a time.

    Raises:
        InputError: not a shard of maps.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            images = json.loads((shard.metadata() or {})["images"])
            for image_id, info in images.items():
                values = shard.get_tensor(image_id).float()
                agreements = {name: tuple(values) for name, values in info.get("agreements", {}).items()}
                yield image_id, Maps(tuple(info["classes"]), values, tuple(info["size"]), agreements)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"{path}: not a shard of localization maps ({error}); delete it and rerun") from error
