"""Masks as COCO results: one run-length code per class and image, and the list of images that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from pycocotools import mask as coco_mask

from pcc.runtime.files import read_json, write_json

RESULTS, IMAGES = "predictions.json", "images.json"
Entry = dict[str, Any]


def entries(
    image_id: str, file_name: str, mask: UInt8[np.ndarray, "H W"], probabilities: Float[np.ndarray, "C H W"]
) -> list[Entry]:
    """COCO's results of one image: one entry per foreground class that occurs.

    Returns:
        ``segmentation`` is a compressed run-length code, ``bbox`` is x, y, width, height, ``area`` counts pixels, and
        ``score`` is the mean probability of the class over its pixels.
    """
    found = []
    for class_id in (int(i) for i in np.unique(mask) if i > 0):
        inside = mask == class_id
        code = coco_mask.encode(np.asfortranarray(inside, dtype=np.uint8))
        found.append(
            {
                "image_id": image_id,
                "file_name": file_name,
                "category_id": class_id,
                "segmentation": {"size": [int(n) for n in code["size"]], "counts": code["counts"].decode("ascii")},
                "bbox": [float(value) for value in coco_mask.toBbox(code)],
                "area": int(inside.sum()),
                "score": round(float(probabilities[class_id][inside].mean(dtype=np.float64)), 6),
            }
        )
    return found


@dataclass
class CocoResults:
    """The two files as they grow: predictions.json (a list, as COCO's tools take it) and images.json (what it is of).

    Attributes:
        classes: names by class id, background first.
        images: by image id, as in images.json.
        found: entries by image id.
    """

    classes: Sequence[str]
    images: dict[str, Entry] = field(default_factory=dict)
    found: dict[str, list[Entry]] = field(default_factory=dict)

    def take_up(self, folder: Path) -> None:
        """What an earlier run wrote; nothing where its files are missing, damaged or of other classes."""
        try:
            listed, results = read_json(folder / IMAGES), read_json(folder / RESULTS)
            if listed["categories"] != self._categories():
                return
            images = {image["id"]: image for image in listed["images"]}
            found: dict[str, list[Entry]] = {image_id: [] for image_id in images}
            for entry in results:
                found[entry["image_id"]].append(entry)
        except (OSError, ValueError, KeyError, TypeError):
            return
        self.images, self.found = images, found

    def add(self, image_id: str, file_name: str, size: tuple[int, int], found: Sequence[Entry]) -> None:
        """The results of one image of (height, width) ``size``."""
        self.images[image_id] = {"id": image_id, "file_name": file_name, "width": size[1], "height": size[0]}
        self.found[image_id] = list(found)

    def write(self, folder: Path) -> None:
        """Write both files; entries lie in the order of the images."""
        write_json(folder / IMAGES, {"images": list(self.images.values()), "categories": self._categories()})
        write_json(folder / RESULTS, [entry for image_id in self.images for entry in self.found[image_id]])

    def _categories(self) -> list[Mapping[str, Any]]:
        return [{"id": number, "name": name} for number, name in enumerate(self.classes) if number > 0]
