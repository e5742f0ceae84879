"""A command line for each sub-command, shown by its ``--help``, that works when pasted after what it says."""

import json
from typing import Any

RESULTS = "results/shapes"
CLASSIFIER = f"{RESULTS}/pcc/seed-0/classifier"
MAPS = f"{RESULTS}/pcc/seed-0/cam/maps/000.safetensors"
MASKS = f"{RESULTS}/pcc/seed-0/cam/crf/pseudo_masks/000"
SEGMENTER = f"{RESULTS}/pcc/seed-0/cam/crf/light"
MANIFEST = f"--manifest {RESULTS}/data/manifest.csv"
LEARNING: dict[str, Any] = {
    "model": {"backbone": {"name": "resnet10t"}},
    "training": {"image_size": 64, "batch_size": 16, "phases": [{"name": "main", "epochs": 1, "lr": 1e-3}]},
}
DRAWN = {"name": "tried", "format": "shapes", "settings": {"train": 8, "val": 4}, "shards": {"train": 1, "val": 1}}
CLASSES = [
    f"{surface}_{outline}" for outline in ("pebble", "kite", "flower") for surface in ("striped", "dotted", "checked")
]

# The words of each sub-command, and the object that its --settings are, where it has any.
EXAMPLES: dict[str, tuple[str, dict[str, Any] | None]] = {
    "prepare": ("--output tried/data", DRAWN),
    "clusters": (f"{MANIFEST} --output tried/clusters.json", {"provider": "taxonomy"}),
    "train": (
        f"{MANIFEST} --clusters {RESULTS}/clusters/none/clusters.json --output tried/classifier",
        {"type": "cam", **LEARNING},
    ),
    "nouns": (
        "--classifier results/shapes_places/semples/seed-0/classifier --output tried/nouns.csv",
        {"words": "nouns"},
    ),
    "localize": (
        f"{MANIFEST} --classifier {CLASSIFIER} --shard 000 --output tried/maps/000.safetensors",
        {"type": "cam", "image_size": 96},
    ),
    "train_boundary": (f"{MANIFEST} --masks {MASKS} --output tried/boundary", LEARNING),
    "boundaries": (f"{MANIFEST} --network tried/boundary --shard 000 --output tried/boundaries/000.safetensors", None),
    "pseudo_masks": (f"{MANIFEST} --maps {MAPS} --output tried/masks", {"type": "threshold", "threshold": 0.4}),
    "quality": (f"{MANIFEST} --maps {MAPS} --masks {MASKS} --output tried/quality.csv", None),
    "train_segmenter": (f"{MANIFEST} --masks {MASKS} --output tried/segmenter", {"type": "light_head", **LEARNING}),
    "segment": (f"{MANIFEST} --segmenter {SEGMENTER}/segmenter --shard 000 --output tried/predictions/000", None),
    "evaluate": (
        f"{MANIFEST} --kind predictions --split val --input {SEGMENTER}/predictions/000 --output tried/metrics.json",
        None,
    ),
    "report": (f"--metrics {SEGMENTER}/metrics.json --results {RESULTS} --output tried/report", None),
    "labels": ("--output tried/labels.csv", {"source": "masks", "path": f"{RESULTS}/data/masks", "classes": CLASSES}),
    "inspect": (f"{SEGMENTER}/metrics.json --output tried/confusion.png", None),
    "init": (f"{RESULTS}/data/images --tags tried/labels.csv --output tried/mine.yaml --force", None),
    "gallery": (f"{RESULTS} --limit 50 --output tried/gallery", None),
    "doctor": ("--configfile config.yaml", None),
    "export": (f"{SEGMENTER} --output tried/model", None),
    "predict": (f"{SEGMENTER}/segmenter '{RESULTS}/data/images/val_*0.png' --output tried/predicted", None),
}


def example(command: str) -> str:
    """The command line of a sub-command.

    Raises:
        KeyError: there is no example for it.
    """
    words, settings = EXAMPLES[command]
    return f"pcc {command} {words}" + ("" if settings is None else f" --settings '{json.dumps(settings)}'")


def epilog(command: str) -> str:
    """The end of a sub-command's help: its example, an option to a line."""
    line = example(command)
    before = ["`make demo-semples`" if "shapes_places" in line else "`make demo`"]
    before += [f"the example of `pcc {other}`" for other in EXAMPLES if other != command and _output(other) in line]
    # \b keeps the lines as they are.
    return f"\b\nExample, after {' and '.join(before)}:\n  " + line.replace(" --", " \\\n    --")


def _output(command: str) -> str:
    """What its example writes; what reads none of the others' outputs reads the demo's."""
    _, _, words = EXAMPLES[command][0].partition("--output ")
    return words.split()[0] if words else "nothing"
