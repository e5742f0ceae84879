"""COCO's instances JSON: contiguous class ids, annotations by image, faulty ones set aside."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcc.data import image_ids as ids
from pcc.data.classes import Taxonomy
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json

PARTS = ("images", "annotations", "categories")
Annotation = Mapping[str, Any]


@dataclass(frozen=True)
class Instances:
    """One instances JSON.

    Attributes:
        path: the file.
        classes: category names by ascending category id; the i-th has class id i + 1, whatever gaps the ids
            have.
        class_ids: category id → class id.
        taxonomy: supercategory → names; a category without one is its own.
        images: the JSON's image entries.
        annotations: image number → its sound annotations.
        problems: one line for each faulty annotation.
    """

    path: Path
    classes: tuple[str, ...]
    class_ids: dict[int, int]
    taxonomy: Taxonomy
    images: list[dict[str, Any]]
    annotations: dict[int, list[Annotation]]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> "Instances":
        """Read a JSON file.

        Raises:
            InputError: missing, or not an instances JSON.
        """
        stored = _read_parts(path)
        try:
            categories = sorted(stored["categories"], key=lambda category: category["id"])
            groups: dict[str, list[str]] = defaultdict(list)
            for category in categories:
                groups[category.get("supercategory") or category["name"]].append(category["name"])
            class_ids = {category["id"]: index for index, category in enumerate(categories, 1)}
            sizes = {image["id"]: (image["height"], image["width"]) for image in stored["images"]}
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: not an instances JSON ({error} in images or categories); restore it") from error
        annotations: dict[int, list[Annotation]] = {number: [] for number in sizes}
        problems = []
        for annotation in stored["annotations"]:
            if fault := _fault(annotation, sizes, class_ids):
                problems.append(f"{path}: annotation {annotation.get('id')}: {fault}")
            else:
                annotations[annotation["image_id"]].append(annotation)
        return cls(
            path,
            tuple(category["name"] for category in categories),
            class_ids,
            {group: tuple(names) for group, names in groups.items()},
            stored["images"],
            annotations,
            problems,
        )

    def labels(self, number: int) -> tuple[str, ...]:
        """The classes annotated in image ``number``, crowds included, by class id."""
        present = {self.class_ids[annotation["category_id"]] for annotation in self.annotations[number]}
        return tuple(self.classes[class_id - 1] for class_id in sorted(present))


def image_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Image id → class names of one instances JSON.

    Raises:
        InputError: not such a file, or faulty annotations.
    """
    instances = Instances.read(path)
    if instances.problems:
        raise InputError(instances.problems)
    return {ids.from_file_name(image["file_name"]): instances.labels(image["id"]) for image in instances.images}


def _read_parts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: file is missing; check root and annotations")
    stored = read_json(path, "restore it")
    missing = [part for part in PARTS if not isinstance(stored, dict) or not isinstance(stored.get(part), list)]
    if missing:
        raise InputError(f"{path}: not an instances JSON, no list of {', '.join(missing)}; give an instances_*.json")
    return stored


def _fault(annotation: Annotation, sizes: Mapping[int, tuple[int, int]], class_ids: Mapping[int, int]) -> str | None:
    if missing := [key for key in ("id", "image_id", "category_id", "segmentation") if key not in annotation]:
        return f"{', '.join(missing)} missing; use an instances JSON"
    if annotation["image_id"] not in sizes:
        return f"its image {annotation['image_id']} is not in 'images'; add it or drop the annotation"
    if annotation["category_id"] not in class_ids:
        return f"its category {annotation['category_id']} is not in 'categories'; add it or drop the annotation"
    shape, size = annotation["segmentation"], sizes[annotation["image_id"]]
    if isinstance(shape, list):
        whole = shape and all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in shape)
        return None if whole else "its polygons need at least three points (x, y) each; correct or drop it"
    if "counts" not in shape or tuple(shape.get("size", ())) != size:
        return f"its run-length code is for {shape.get('size')}, its image is {list(size)}; correct or drop it"
    return None
