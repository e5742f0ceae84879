"""Data of the gallery page: one constant in ``data.js``, as local pages cannot fetch files."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pcc.artifacts.clusters import read_stored
from pcc.data.manifest import Dataset, Record
from pcc.data.tables import read_table
from pcc.gallery.encoding import class_colours, heat_colours
from pcc.gallery.layers import Facts
from pcc.ids import BACKGROUND
from pcc.reporting.experiments import Experiment, Step, name_of
from pcc.runtime.errors import InputError
from pcc.runtime.files import write_text

PAGE = resources.files("pcc.gallery") / "page"
QUALITY = "quality.csv"


def page_data(
    results: Path,
    dataset: Dataset,
    records: Sequence[Record],
    steps: Sequence[Step],
    experiments: Sequence[Experiment],
    facts: Sequence[Mapping[str, Facts]],
) -> dict[str, Any]:
    """Everything but the pixels, by columns: entry i of a list belongs to image i.

    Args:
        results: folder of the data set's results.
        dataset: the data set.
        records: images shown.
        steps: steps shown.
        experiments: chains of steps.
        facts: facts by image id, for the images, the ground truth, and each step.

    Raises:
        InputError: an invalid clusters.json or quality.csv.
    """
    images, truth, *of_steps = facts
    names = [record.image_id for record in records]
    ids = {name: class_id for class_id, name in enumerate(dataset.classes, 1)}
    return {
        "name": dataset.name,
        "classes": [BACKGROUND, *dataset.classes],
        "colours": class_colours(),
        "heat": heat_colours(),
        "partitions": _partitions(results, ids),
        "ids": names,
        "splits": [record.split for record in records],
        "tags": [[ids[name] for name in record.labels] for record in records],
        "sizes": _column(images, names, "size"),
        "problems": _column(images, names, "problem"),
        "truth": _layer("truth", truth, names),
        "steps": [
            {
                "path": step.path,
                "kind": step.kind,
                "name": name_of(step.path),
                "oracle": step.oracle,
                "supervised": step.supervised,
                "mean_iou": step.mean_iou,
                **_layer(f"steps/{step.path}/{step.kind}", found, names),
                "iou": _column(found, names, "iou"),
                "confidence": _confidence(results / step.path / QUALITY, names)
                if step.kind == "pseudo_masks"
                else None,
            }
            for step, found in zip(steps, of_steps, strict=True)
        ],
        "experiments": [{"path": e.path, "name": e.name, "steps": list(e.steps)} for e in experiments],
    }


def write_page(output: Path, data: Mapping[str, Any]) -> None:
    """Write ``data.js`` and the page atomically; index.html last, so that its parts exist."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # In JavaScript a plain __proto__ would set an object's prototype. Within a text, JSON escapes the quotes.
    text = re.sub(r'([{,])"__proto__":', r'\1["__proto__"]:', text)
    write_text(output / "data.js", f"const GALLERY = {text};\n")
    parts = sorted(PAGE.iterdir(), key=lambda part: part.name == "index.html")
    for part in parts:
        if part.name.endswith((".html", ".css", ".js")):
            write_text(output / part.name, part.read_text(encoding="utf-8"))


def _layer(folder: str, facts: Mapping[str, Facts], names: Sequence[str]) -> dict[str, Any]:
    """Folder, foreground fraction by image (None: no mask), and faults by image id."""
    keys = ("problem", "unscored")
    return {
        "folder": folder,
        "share": _column(facts, names, "share"),
        "faults": {i: fault for i, fact in facts.items() for key in keys if (fault := fact.get(key))},
    }


def _column(facts: Mapping[str, Facts], names: Sequence[str], key: str) -> list[Any]:
    return [facts.get(name, {}).get(key) for name in names]


def _partitions(results: Path, ids: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Clusters by partition, as class ids; empty partitions are skipped."""
    found = {}
    for path in sorted(results.glob("clusters/*/clusters.json")):
        stored = read_stored(path).clusters
        if unknown := [name for cluster in stored for name in cluster.members if name not in ids]:
            raise InputError(f"{path}: unknown class '{unknown[0]}'; rerun `pcc clusters`")
        clusters = [{"name": c.name, "classes": [ids[name] for name in c.members]} for c in stored]
        if clusters:
            found[path.parent.name] = clusters
    return found


def _confidence(path: Path, names: Sequence[str]) -> list[float | None] | None:
    """Mean confidence by image from quality.csv, if it exists.

    Raises:
        InputError: a missing column or an invalid confidence.
    """
    if not path.is_file():
        return None
    values: dict[str, list[float]] = {}
    for line, row in read_table(path, ("image_id", "class_id", "confidence")):
        try:
            value = float(row["confidence"])
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise InputError(
                f"{path} line {line}: confidence '{row['confidence']}' must be in 0..1; rerun `pcc quality`"
            )
        values.setdefault(row["image_id"], []).append(value)
    return [round(sum(v) / len(v), 4) if (v := values.get(name)) else None for name in names]
