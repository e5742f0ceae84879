"""Localization maps: one safetensors file per shard."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pcc.artifacts.tensors import write_tensors
from pcc.runtime.errors import InputError


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


@dataclass(frozen=True)
class _Image:
    """What the metadata say of one image."""

    classes: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    size: tuple[PositiveInt, PositiveInt]
    agreements: dict[str, tuple[float, ...]] = field(default_factory=dict)


IMAGES = TypeAdapter(dict[str, _Image])


def write_maps(path: Path, maps: Mapping[str, Maps]) -> None:
    """Write a shard: fp16 tensors by image id; class ids and image sizes in the metadata."""
    tensors = {image_id: m.values.to(torch.float16) for image_id, m in maps.items()}
    images = {
        image_id: {"classes": list(m.classes), "size": list(m.size), "agreements": dict(m.agreements)}
        for image_id, m in maps.items()
    }
    _check_finite(path, tensors)
    write_tensors(path, tensors, {"images": json.dumps(images)})


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    if wrong := [image_id for image_id, values in tensors.items() if not torch.isfinite(values).all()]:
        more = f" and {len(wrong) - 1} more images" if len(wrong) > 1 else ""
        raise InputError(
            f"{path}: localization maps of {wrong[0]}{more} are NaN or infinite; its network is damaged or has "
            "diverged: train it again, with a lower learning rate"
        )


def read_maps(path: Path) -> Iterator[tuple[str, Maps]]:
    """Stream ``(image_id, maps)`` from a shard, one image at a time.

    Raises:
        InputError: not a shard of maps, or NaN or infinite values.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            images = IMAGES.validate_json((shard.metadata() or {}).get("images", ""))
            for image_id, info in images.items():
                values = shard.get_tensor(image_id).float()
                if values.ndim != 3 or len(values) != len(info.classes):
                    raise ValueError(f"{image_id} has shape {list(values.shape)} for {len(info.classes)} classes")
                _check_finite(path, {image_id: values})
                yield image_id, Maps(info.classes, values, info.size, info.agreements)
    except (OSError, SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not a shard of localization maps ({reason}); delete it and rerun") from error
