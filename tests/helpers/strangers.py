"""Folders as people have them, of drawn images."""

import csv
import shutil
from pathlib import Path

from pcc.data.manifest import Record
from pcc.readers import shapes

GROUPS = ("pebble", "kite", "flower")


def draw_photos(folder: Path, count: int, layout: str, image_size: int = 32) -> list[Record]:
    """Drawn images whose tags are their outlines, in a table (``csv``) or in one folder per tag (``folders``).

    Returns:
        The records of what was drawn, with their exact masks, under ``folder``'s sibling ``drawn``.
    """
    drawn = folder.parent / "drawn"
    objects = [1, 1] if layout == "folders" else [1, 2]
    records = shapes.read(drawn, train=count - 1, val=1, image_size=image_size, objects=objects).records
    folder.mkdir(parents=True)
    rows = []
    for number, record in enumerate(records):
        tags = sorted({name.rsplit("_", 1)[-1] for name in record.labels})
        name = f"{number:03d}.png" if layout == "csv" else f"{tags[0]}/{number:03d}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(record.image, folder / name)
        rows.append((name, ", ".join(tags)))
    if layout == "csv":
        with (folder / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("photo", "labels"), *rows])
    return list(records)
