"""Stands in for `pcc/__main__.py`: writes what each stage is expected to write, and notes how it was called."""

import json
import os
import sys
from pathlib import Path

FILES = {
    "prepare": ["manifest.csv", "dataset.json"],
    "train": ["weights.safetensors", "model.json", "losses.csv"],
    "train_boundary": ["weights.safetensors", "model.json", "losses.csv"],
    "train_segmenter": ["weights.safetensors", "model.json", "losses.csv"],
    "pseudo_masks": ["image.png"],
    "segment": ["image.png"],
    "report": [
        *("summary.csv", "runs.csv", "partitions.csv", "report.md"),
        *("per_class.png", "weak_full.png", "curves.png", "confusion.png", "costs.png"),
    ],
}

stage, *words = sys.argv[1:]
if stage == os.environ.get("FAILING"):
    sys.exit(2)
flags: dict[str, list[str]] = {}
for word, following in zip(words, [*words[1:], ""], strict=True):
    if word.startswith("--"):
        name, _, value = word.partition("=")
        flags.setdefault(name, []).append(value or following)

output = Path(flags["--output"][0])
files = [output / name for name in FILES.get(stage, [])] or [output]
files += [
    output / f"clusters_{Path(path).parent.name}.png" for path in flags.get("--clusters", []) if stage == "report"
]
files += [output / f"nouns_{Path(path).parts[-3]}.png" for path in flags.get("--nouns", [])]
for file in [*files, *map(Path, flags.get("--figure", []))]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(stage + " ".join(flags.get("--settings", [])) if stage == "prepare" else stage)
with Path("calls.jsonl").open("a") as calls:
    calls.write(json.dumps({"stage": stage, **flags}) + "\n")
