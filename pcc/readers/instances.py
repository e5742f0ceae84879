"""COCO's instances JSON: checked entry by entry, contiguous class ids, annotations by image, faulty ones set aside."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcc.data import image_ids as ids
from pcc.data.classes import Taxonomy
from pcc.readers.run_lengths import ShapeFault, check
from pcc.runtime.errors import InputError
from pcc.runtime.image_files import MAX_PIXELS
from pcc.runtime.ranges import shown

SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}
SHOWN = 5  # of many values
Annotation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One entry of ``images``.

    Attributes:
        number: its id in the JSON.
        image_id: its id in the manifest, made of ``file_name``.
        file_name: path inside the folder of images.
        size: (height, width).
    """

    number: int
    image_id: str
    file_name: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Instances:
    """One instances JSON.

    Attributes:
        path: the file.
        classes: category names by ascending category id; the i-th has class id i + 1, whatever gaps the ids
            have.
        class_ids: category id → class id.
        taxonomy: supercategory → names; a category without one is its own.
        images: the JSON's images.
        annotations: image number → its sound annotations.
        shapeless: image number → ids of its annotations without a shape: it has labels and no mask.
        problems: one line for each faulty annotation.
    """

    path: Path
    classes: tuple[str, ...]
    class_ids: dict[int, int]
    taxonomy: Taxonomy
    images: list[ImageEntry]
    annotations: dict[int, list[Annotation]]
    shapeless: dict[int, list[int]]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> "Instances":
        """Read a JSON file.

        Raises:
            InputError: missing, not an instances JSON, or faulty images or categories.
        """
        stored = _read_parts(path)
        images, faults = _sound(stored, "images", _image_fault)
        categories, more = _sound(stored, "categories", _category_fault)
        faults += more
        faults += _repeated("images", images, "id", "file_name")
        faults += _repeated("categories", categories, "id", "name")
        if faults:
            raise InputError([f"{path}: {fault}" for fault in faults])
        categories.sort(key=lambda category: category["id"])
        groups: dict[str, list[str]] = defaultdict(list)
        for category in categories:
            groups[category.get("supercategory") or category["name"]].append(category["name"])
        class_ids = {int(category["id"]): index for index, category in enumerate(categories, 1)}
        entries = [
            ImageEntry(
                int(image["id"]),
                ids.from_file_name(image["file_name"]),
                image["file_name"],
                (int(image["height"]), int(image["width"])),
            )
            for image in images
        ]
        sizes = {entry.number: entry.size for entry in entries}
        sound, problems = _sound(stored, "annotations", lambda one: _annotation_fault(one, sizes, class_ids))
        problems += _repeated("annotations", sound, "id")
        annotations: dict[int, list[Annotation]] = {number: [] for number in sizes}
        shapeless = defaultdict(list)
        for annotation in sound:
            annotations[annotation["image_id"]].append(annotation)
            if _is_shapeless(annotation):
                shapeless[int(annotation["image_id"])].append(int(annotation["id"]))
        return cls(
            path,
            tuple(category["name"] for category in categories),
            class_ids,
            {group: tuple(names) for group, names in groups.items()},
            entries,
            annotations,
            dict(shapeless),
            [f"{path}: {problem}" for problem in problems],
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
    return {image.image_id: instances.labels(image.number) for image in instances.images}


def _read_parts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: file is missing; check root and annotations")
    try:
        stored = json.loads(path.read_bytes())  # of bytes it finds out the encoding itself
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: not JSON ({str(error) or type(error).__name__}); restore it") from error
    missing = [part for part in SINGULAR if not isinstance(stored, dict) or not isinstance(stored.get(part), list)]
    if missing:
        raise InputError(f"{path}: not an instances JSON, no list of {', '.join(missing)}; give an instances_*.json")
    return stored


def _sound(
    stored: dict[str, Any], part: str, fault_of: Callable[[dict[str, Any]], str | None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The sound entries of a part, and one line for each of the others."""
    sound, faults = [], []
    for place, entry in enumerate(stored[part]):
        if not isinstance(entry, dict):
            faults.append(f"{part}[{place}]: it is {shown(entry)}, not an object; correct or drop it")
        elif not _is_whole(entry.get("id")):
            faults.append(f"{part}[{place}]: its id is {shown(entry.get('id'))}; give it a whole number of its own")
        elif fault := fault_of(entry):
            faults.append(f"{SINGULAR[part]} {shown(entry['id'])}: {fault}")
        else:
            sound.append(entry)
    return sound, faults


def _repeated(part: str, entries: Sequence[dict[str, Any]], *keys: str) -> list[str]:
    """One line about all values that more than one entry has under the first of the keys where there are any."""
    for key in keys:
        counts = Counter(entry[key] for entry in entries)
        if repeated := [value for value, count in counts.items() if count > 1]:
            return [f"{part}: {key} {listed(repeated)} is there more than once; give each of the {part} its own"]
    return []


def listed(values: Sequence[Any]) -> str:
    """The first values, and how many more there are."""
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(shown, values[:SHOWN])) + more


def _image_fault(image: dict[str, Any]) -> str | None:
    name = image.get("file_name")
    if not isinstance(name, str):
        return f"its file_name is {shown(name)}; name the file inside the folder of images"
    if fault := ids.fault(ids.from_file_name(name)):
        return f"its file_name {shown(name)} {fault}; name the file inside the folder of images"
    for key in ("height", "width"):
        if not _is_whole(image.get(key)) or not 1 <= image[key] <= MAX_PIXELS:
            return f"its {key} is {shown(image.get(key))}; it must be a whole number of pixels, 1 to {MAX_PIXELS}"
    if image["height"] * image["width"] > MAX_PIXELS:
        return f"it has {shown(image['height'])} x {shown(image['width'])} pixels, more than {MAX_PIXELS}; correct it"
    return None


def _category_fault(category: dict[str, Any]) -> str | None:
    for key in ("name", "supercategory"):
        text = category.get(key)
        if text is None and key == "supercategory":
            continue
        if not isinstance(text, str) or not text.isprintable() or text != text.strip() or not (text or key != "name"):
            return f"its {key} is {shown(text)}; it must be text without line breaks and without blanks at its ends"
    return None


def _annotation_fault(
    annotation: Annotation, sizes: Mapping[int, tuple[int, int]], class_ids: Mapping[int, int]
) -> str | None:
    for key, part, known in (("image_id", "images", sizes), ("category_id", "categories", class_ids)):
        number = annotation.get(key)
        if not _is_whole(number):
            return f"its {key} is {shown(number)}; it must be a whole number"
        if number not in known:
            return f"its {SINGULAR[part]} {shown(number)} is not in '{part}'; add it or drop the annotation"
    if annotation.get("iscrowd", 0) not in (0, 1):
        return f"its iscrowd is {shown(annotation['iscrowd'])}; it must be 0 or 1"
    if _is_shapeless(annotation):
        return None
    try:
        check(annotation["segmentation"], sizes[annotation["image_id"]])
    except ShapeFault as fault:
        return f"{fault}; correct it"
    return None


def _is_shapeless(annotation: Annotation) -> bool:
    """As detection data sets have them."""
    return annotation.get("segmentation") in (None, [])


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())
