"""Everything that passes between stages: one reader and one writer for each format, all writes atomic."""

import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pcc import mean_field
from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path, digest, read_json, write_json

IGNORE = 255
VERSIONED = ("pcc", "torch", "torchvision", "timm", "numpy", "pydensecrf2", "snakemake")


@dataclass(frozen=True)
class Maps:
    """The localization maps of one image.

    Attributes:
        classes: class id of each channel, 0 first.
        values: [k, h, w] at grid resolution.
        size: the image's own (height, width).
        agreements: IoU of each channel in two views of the image, by what was compared, where anything was.
    """

    classes: tuple[int, ...]
    values: Float[Tensor, "k h w"]
    size: tuple[int, int]
    agreements: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def write_maps(path: Path, maps: Mapping[str, Maps]) -> None:
    """Write one shard of maps: fp16 tensors by image id, class ids and image sizes in the metadata."""
    tensors = {image_id: m.values.to(torch.float16).contiguous() for image_id, m in maps.items()}
    images = {
        image_id: {"classes": list(m.classes), "size": list(m.size), "agreements": dict(m.agreements)}
        for image_id, m in maps.items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"images": json.dumps(images)})


def read_maps(path: Path) -> Iterator[tuple[str, Maps]]:
    """Stream ``(image_id, maps)`` from one shard; one image is in memory at a time.

    Raises:
        InputError: the file is not a shard of maps.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            images = json.loads((shard.metadata() or {})["images"])
            for image_id, info in images.items():
                values = shard.get_tensor(image_id).float()
                agreements = {name: tuple(alike) for name, alike in info.get("agreements", {}).items()}
                yield image_id, Maps(tuple(info["classes"]), values, tuple(info["size"]), agreements)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: not a shard of localization maps ({error}); delete it and rerun"
        ) from error


def palette() -> list[int]:
    """The PASCAL VOC colour map: 256 RGB triples, each class id's bits spread over the three channels."""
    colours = []
    for class_id in range(256):
        red = green = blue = 0
        for bit in range(8):
            red |= ((class_id >> (3 * bit)) & 1) << (7 - bit)
            green |= ((class_id >> (3 * bit + 1)) & 1) << (7 - bit)
            blue |= ((class_id >> (3 * bit + 2)) & 1) << (7 - bit)
        colours += [red, green, blue]
    return colours


def write_mask(path: Path, mask: UInt8[np.ndarray, "H W"]) -> None:
    """Write a mask of class ids as a palette PNG (0 background, 255 ignore)."""
    height, width = mask.shape
    coloured = Image.frombytes("P", (width, height), np.ascontiguousarray(mask).tobytes())
    coloured.putpalette(palette())
    with atomic_path(path) as temporary:
        coloured.save(temporary)


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read class ids from a palette or grey-scale PNG.

    Raises:
        InputError: unreadable, or colours where class ids should be.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise InputError(
                    f"{path}: mask has mode {image.mode}; save class ids as an 8-bit palette or grey PNG"
                )
            return np.array(image, dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: mask cannot be read ({error}); restore the file") from error


def mask_value_fault(values: Iterable[int], num_foreground: int) -> str | None:
    """What is wrong with the values of a mask, or None."""
    wrong = sorted(int(value) for value in values if num_foreground < value < IGNORE)
    listed = ", ".join(map(str, wrong))
    return f"mask holds {listed}; class ids are 0..{num_foreground} and {IGNORE} (ignore)" if wrong else None


def write_clusters(path: Path, clusters: Sequence[Mapping[str, Any]], **details: Any) -> None:
    """Write a partition of the class names: ``[{"name": ..., "members": [...]}, ...]`` and how it was made."""
    write_json(
        path, {**details, "clusters": [{"name": c["name"], "members": list(c["members"])} for c in clusters]}
    )


def read_clusters(path: Path) -> list[tuple[str, ...]]:
    """The members of each cluster, in file order; an empty list means `none`."""
    return [tuple(cluster["members"]) for cluster in read_json(path)["clusters"]]


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors."""
    with atomic_path(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)


def write_provenance(
    path: Path,
    *,
    settings: Mapping[str, Any],
    inputs: Sequence[Path],
    started: float,
    code: str,
    **details: Any,
) -> None:
    """Write how an artifact came about.

    Args:
        path: the provenance file.
        settings: the stage's resolved settings.
        inputs: files and folders read; their digests are stored.
        started: ``time.monotonic()`` at the stage's start.
        code: fingerprint of the stage's code.
        details: seed, shard and the like.
    """
    write_json(
        path,
        {
            **details,
            "settings": settings,
            "inputs": {str(p): digest(p) for p in inputs},
            "code": code,
            "git": _git_revision(),
            "versions": {"python": platform.python_version()}
            | {n: v for n in VERSIONED if (v := _version(n))}
            | {"pcc.mean_field": mean_field.INSTRUCTIONS or "absent"},
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "wall_time_s": round(time.monotonic() - started, 2),
            "peak_memory_mb": round(_peak_memory(), 1),
        },
    )


def _peak_memory() -> float:
    """Of this process so far, without its children's, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
