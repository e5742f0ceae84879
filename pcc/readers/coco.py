"""COCO: official instances JSON in, contiguous class ids, labels and semantic masks out.

An image's labels are its annotated categories, crowds included. Training images without any annotation are
left out, as in the field's published lists; those of val are predicted and not scored. Annotations without a
segmentation, as detection data sets have them, are labels all the same; their images have no mask.

Masks are painted in this order, later over earlier: crowd regions (``iscrowd``) as their class, then
instances from the largest to the smallest, so that small objects stay visible; within each, ties go by
annotation id.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8

from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.ids import IGNORE
from pcc.readers import run_lengths
from pcc.readers.instances import Annotation, Instances, listed
from pcc.runtime.errors import InputError
from pcc.runtime.files import digest
from pcc.runtime.progress import log, track
from pcc.runtime.settings import File, Name, limits

ANNOTATIONS = {split: f"annotations/instances_{split}2014.json" for split in ("train", "val")}
IMAGES = {split: f"{split}2014" for split in ("train", "val")}

Splits = Annotated[Mapping[Name, File], limits(min_length=1, max_length=2)]


def read(
    output: Path,
    *,
    root: File,
    annotations: Splits = ANNOTATIONS,
    images: Splits = IMAGES,
    crowd: Literal["class", "ignore"] = "class",
) -> Manifest:
    """Read COCO's JSON and paint masks into ``output/masks/{digest}``.

    The digest is that of the annotations and of this code: masks that are there are whole and fit, and are
    kept.

    Args:
        output: folder of the data set.
        root: folder that holds the images' folders and the annotations.
        annotations: split → instances JSON, inside ``root``.
        images: split → folder of its images, inside ``root``.
        crowd: crowd regions are painted as their ``class`` or as ``ignore`` (255), under the instances either
            way.

    Raises:
        InputError: a setting or a JSON file cannot be used; faults of single annotations are in the
            manifest's ``problems``, and then no mask is painted.
    """
    if missing := [split for split in annotations if split not in images]:
        raise InputError(f"dataset.settings.images: no folder for split {', '.join(missing)}")
    if not annotations:
        raise InputError("dataset.settings.annotations: is empty; name an instances JSON for train and for val")
    splits = {split: Instances.read(Path(root) / name) for split, name in annotations.items()}
    first, *others = splits.values()
    for other in others:
        if (other.classes, other.class_ids) != (first.classes, first.class_ids):
            raise InputError(f"{other.path}: its categories are not those of {first.path}; use matching files")
    _note_supercategories(list(splits.values()))
    problems = tuple(line for instances in splits.values() for line in instances.problems)
    records: list[Record] = []
    for split, instances in splits.items():
        masks = None if problems else output / "masks" / _digest(instances.path, crowd)
        if masks is not None:
            _paint_all(instances, masks, crowd)
        records += _records(instances, split, Path(root) / images[split], masks)
    dataset = Dataset(Path(root).name, first.classes, first.taxonomy)
    return Manifest(dataset, tuple(records), problems, tuple(instances.path for instances in splits.values()))


def paint(
    annotations: Sequence[Annotation], size: tuple[int, int], class_ids: Mapping[int, int], crowd: str = "class"
) -> UInt8[np.ndarray, "H W"]:
    """One semantic mask [H, W] from an image's annotations, in the order the module describes.

    Args:
        annotations: COCO annotations: polygons, or run-length codes, compressed or not.
        size: the image's (height, width).
        class_ids: category id → class id.
        crowd: how crowds are painted, see `read`.
    """
    columns = np.zeros(size[0] * size[1], np.uint8)
    shapes = [(annotation, run_lengths.run_lengths(annotation["segmentation"], size)) for annotation in annotations]
    for annotation, runs in sorted(
        shapes, key=lambda pair: (not pair[0].get("iscrowd", 0), -int(pair[1][1::2].sum()), pair[0]["id"])
    ):
        ignored = annotation.get("iscrowd", 0) and crowd == "ignore"
        run_lengths.fill(columns, runs, IGNORE if ignored else class_ids[annotation["category_id"]])
    return np.ascontiguousarray(columns.reshape(size[::-1]).T)


def _records(instances: Instances, split: str, folder: Path, masks: Path | None) -> list[Record]:
    records = []
    for image in instances.images:
        labels = instances.labels(image.number)
        if labels or split != "train":
            painted = masks is not None and image.number not in instances.shapeless
            records.append(
                Record(
                    image.image_id,
                    folder / image.file_name,
                    labels,
                    masks / f"{image.image_id}.png" if masks is not None and painted else None,
                    split,
                    scored=bool(labels) and painted,
                    where=f"{instances.path} image {image.number}",
                )
            )
    return records


def _paint_all(instances: Instances, masks: Path, crowd: str) -> None:
    if instances.shapeless:
        log.warning(
            "%s: annotations without a segmentation (%s): their %d images keep the labels and are not scored",
            instances.path,
            listed([number for numbers in instances.shapeless.values() for number in numbers]),
            len(instances.shapeless),
        )
    for image in track(instances.images, f"painting {instances.path.stem}"):
        path = masks / f"{image.image_id}.png"
        if image.number not in instances.shapeless and not path.exists():
            write_mask(path, paint(instances.annotations[image.number], image.size, instances.class_ids, crowd))


def _note_supercategories(splits: Sequence[Instances]) -> None:
    """Some exporters list a name for the whole data set as a category beside its members."""
    first = splits[0]
    labelled = {name for instances in splits for image in instances.images for name in instances.labels(image.number)}
    for name in first.classes:
        if name not in labelled and set(first.taxonomy.get(name, ())) - {name}:
            log.warning(
                "%s: category '%s' has no annotations and is the supercategory of others; if it is not a class, "
                "remove it from 'categories'",
                first.path,
                name,
            )


def _digest(path: Path, crowd: str) -> str:
    code = " ".join(digest(Path(str(module))) for module in (__file__, run_lengths.__file__))
    return hashlib.sha256(f"{digest(path)} {code} {crowd}".encode()).hexdigest()[:12]
