"""COCO: official instances JSON in, contiguous class ids, labels and semantic masks out.

An image's labels are its annotated categories, crowds included. Training images without any annotation are
left out, as in the field's published lists; those of val are
predicted and not scored.

Masks are painted in this order, later over earlier: crowd regions (``iscrowd``) as their class, then
instances from the largest to the smallest, so that small objects stay visible; within each, ties go by
annotation id.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as rle

from pcc.artifacts.masks import write_mask
from pcc.data import image_ids as ids
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.ids import IGNORE
from pcc.readers.instances import Annotation, Instances
from pcc.runtime.errors import InputError
from pcc.runtime.files import digest
from pcc.runtime.progress import track
from pcc.runtime.settings import File, Name, limits

ANNOTATIONS = {split: f"annotations/instances_{split}2014.json" for split in ("train", "val")}
IMAGES = {split: f"{split}2014" for split in ("train", "val")}
CROWD = ("class", "ignore")

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
    if crowd not in CROWD:
        raise InputError(f"dataset.settings.crowd: '{crowd}' is not one of {', '.join(CROWD)}")
    if missing := [split for split in annotations if split not in images]:
        raise InputError(f"dataset.settings.images: no folder for split {', '.join(missing)}")
    splits = {split: Instances.read(Path(root) / name) for split, name in annotations.items()}
    first, *others = splits.values()
    for other in others:
        if (other.classes, other.class_ids) != (first.classes, first.class_ids):
            raise InputError(f"{other.path}: its categories are not those of {first.path}; use matching files")
    problems = tuple(line for instances in splits.values() for line in instances.problems)
    records: list[Record] = []
    for split, instances in splits.items():
        masks = output / "masks" / _digest(instances.path, crowd)
        if not problems:
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
    mask = np.zeros(size, np.uint8)
    encoded = [(annotation, _encode(annotation["segmentation"], size)) for annotation in annotations]
    for annotation, code in sorted(
        encoded, key=lambda pair: (not pair[0].get("iscrowd", 0), -int(rle.area(pair[1])), pair[0]["id"])
    ):
        ignored = annotation.get("iscrowd", 0) and crowd == "ignore"
        mask[rle.decode(code).astype(bool)] = IGNORE if ignored else class_ids[annotation["category_id"]]
    return mask


def _encode(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The compressed run-length code of polygons or of an uncompressed code."""
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, *size))
    return rle.frPyObjects(segmentation, *size) if isinstance(segmentation["counts"], list) else segmentation


def _records(instances: Instances, split: str, folder: Path, masks: Path) -> list[Record]:
    records = []
    for image in instances.images:
        labels = instances.labels(image["id"])
        if labels or split != "train":
            image_id = ids.from_file_name(image["file_name"])
            records.append(
                Record(
                    image_id,
                    folder / image["file_name"],
                    labels,
                    masks / f"{image_id}.png",
                    split,
                    scored=bool(labels),
                    where=f"{instances.path} image {image['id']}",
                )
            )
    return records


def _paint_all(instances: Instances, masks: Path, crowd: str) -> None:
    for image in track(instances.images, f"painting {instances.path.stem}"):
        image_id = ids.from_file_name(image["file_name"])
        path = masks / f"{image_id}.png"
        if ids.fault(image_id) is None and not path.exists():
            size = (image["height"], image["width"])
            write_mask(path, paint(instances.annotations[image["id"]], size, instances.class_ids, crowd))


def _digest(path: Path, crowd: str) -> str:
    return hashlib.sha256(f"{digest(path)} {digest(Path(__file__))} {crowd}".encode()).hexdigest()[:12]
