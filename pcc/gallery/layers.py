"""Layers of the gallery: images, ground truth, masks and maps of each step; updated only when they change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcc.artifacts.maps import Maps
from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Record
from pcc.gallery.encoding import PHOTO, THUMBNAIL, grey_address, overlay_bytes, photo_bytes, quantized
from pcc.ids import IGNORE
from pcc.metrics import confusion_matrix, mean_iou
from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path, read_json, write_json
from pcc.scoring.counting import predicted_mask, read_items

FORMAT = 1  # other formats are rebuilt
MADE = "made.json"
Facts = dict[str, Any]
Signature = list[list[int] | None]


@dataclass(frozen=True)
class Layer:
    """One folder of the gallery.

    Attributes:
        folder: below the gallery.
        kind: ``photos``, ``truth``, ``maps``, ``pseudo_masks`` or ``predictions``.
        inputs: shards of a step; empty for photos and truth.
        num_classes: background included.
        eval_ids: class ids in the mean IoU of an image.
    """

    folder: str
    kind: str
    inputs: tuple[Path, ...]
    num_classes: int
    eval_ids: tuple[int, ...]

    @property
    def key(self) -> Facts:
        """What the folder depends on besides the image files."""
        return {"format": FORMAT, "classes": self.num_classes, "scored": list(self.eval_ids)}


@dataclass(frozen=True)
class Job:
    """One image of one layer and its source: a file or maps."""

    layer: Layer
    record: Record
    source: Path | Maps
    signature: Signature

    @property
    def stem(self) -> str:
        """Output path below the gallery, without suffix."""
        return f"{self.layer.folder}/{self.record.image_id}"


@dataclass(frozen=True)
class Made:
    """Facts of an image, and its files by path below the gallery."""

    facts: Facts
    files: Mapping[str, bytes]


def read_made(layer: Layer, output: Path) -> dict[str, Facts]:
    """Facts of each image from an earlier run; empty if invalid or outdated."""
    try:
        stored = read_json(output / layer.folder / MADE)
        return dict(stored["images"]) if stored["key"] == layer.key else {}
    except (OSError, InputError, ValueError, KeyError, TypeError):
        return {}


def write_made(layer: Layer, output: Path, images: Mapping[str, Facts]) -> None:
    """Store the facts for the next run."""
    write_json(output / layer.folder / MADE, {"key": layer.key, "images": images})


def jobs(layer: Layer, records: Sequence[Record]) -> Iterator[Job]:
    """All images of the layer, new or not.

    Raises:
        InputError: an unreadable shard, or an image in two shards.
    """
    if layer.kind == "photos":
        yield from (Job(layer, r, r.image, signature_of(r.image)) for r in records)
    elif layer.kind == "truth":
        yield from (Job(layer, r, r.mask, signature_of(r.mask)) for r in records if r.mask)
    for shard in layer.inputs:
        for record, source in read_items(layer.kind, [shard], records):
            file = source if isinstance(source, Path) else shard
            truth = [record.mask] if record.mask is not None and record.scored else []
            yield Job(layer, record, source, signature_of(file, *truth))


def signature_of(*files: Path) -> Signature:
    """Modification time and size of each file."""
    return [[s.st_mtime_ns, s.st_size] if (s := _stat(file)) else None for file in files]


def _stat(file: Path) -> Any:
    try:
        return file.stat()
    except OSError:
        return None


def is_fresh(job: Job, known: Mapping[str, Facts], output: Path) -> bool:
    """Whether the outputs exist and their inputs are unchanged."""
    facts = known.get(job.record.image_id)
    if facts is None or facts.get("of") != job.signature:
        return False
    return "problem" in facts or all((output / name).is_file() for name in file_names(job))


def file_names(job: Job) -> tuple[str, str]:
    """File names of the thumbnail and of the large view."""
    if job.layer.kind == "photos":
        return f"thumbs/{job.record.image_id}.jpg", f"{job.stem}.jpg"
    return f"{job.stem}.png", f"{job.stem}.js"


def make(job: Job) -> Made:
    """Files and facts of a job; errors become the fact ``problem``, shown on the page."""
    try:
        facts, contents = _photo(job) if job.layer.kind == "photos" else _mask(job)
    except (InputError, ValueError) as error:
        return Made({"of": job.signature, "problem": " ".join(str(error).split())}, {})
    return Made({"of": job.signature, **facts}, dict(zip(file_names(job), contents, strict=True)))


def write(job: Job, output: Path) -> tuple[str, str, Facts]:
    """Write the files of a job; return folder, image id and facts."""
    made = make(job)
    for name, content in made.files.items():
        with atomic_path(output / name) as temporary:
            temporary.write_bytes(content)
    return job.layer.folder, job.record.image_id, made.facts


def _photo(job: Job) -> tuple[Facts, tuple[bytes, bytes]]:
    image = read_image(job.record.image)
    height, width = image.shape[:2]
    return {"size": [width, height]}, (photo_bytes(image, THUMBNAIL), photo_bytes(image, PHOTO, quality=90))


def _mask(job: Job) -> tuple[Facts, tuple[bytes, bytes]]:
    mask = predicted_mask("maps", job.source) if isinstance(job.source, Maps) else read_mask(Path(job.source))
    content: Facts = {"of": job.stem, "size": [mask.shape[1], mask.shape[0]], "mask": grey_address(mask)}
    if isinstance(job.source, Maps):
        steps, low, high = quantized(job.source.values.numpy())
        content |= {
            "range": [round(low, 4), round(high, 4)],
            "maps": {
                str(class_id): grey_address(step) for class_id, step in zip(job.source.classes, steps, strict=True)
            },
        }
    script = f"Layers.take({json.dumps(content, separators=(',', ':'))});\n".encode()
    return _scores(job, mask), (overlay_bytes(mask), script)


def _scores(job: Job, mask: UInt8[np.ndarray, "H W"]) -> Facts:
    """Foreground fraction, and mean IoU if ground truth is available for scoring."""
    facts: Facts = {"share": round(float(((mask > 0) & (mask != IGNORE)).mean()), 4)}
    truth_file = job.record.mask
    if job.layer.kind == "truth" or truth_file is None or not job.record.scored:
        return facts
    prediction = predicted_mask(job.layer.kind, job.source) if isinstance(job.source, Path) else mask
    try:
        truth = read_mask(truth_file)
        if prediction.shape != truth.shape:
            raise ValueError(f"mask is {prediction.shape} but the ground truth is {truth.shape} (height, width)")
        confusion = confusion_matrix(prediction, truth, job.layer.num_classes)
    except (InputError, ValueError) as error:
        return facts | {"unscored": " ".join(str(error).split())}
    score = mean_iou(confusion, job.layer.eval_ids)
    return facts if np.isnan(score) else facts | {"iou": round(score, 4)}
