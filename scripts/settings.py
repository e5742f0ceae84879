"""Write what the signatures of modules say about their settings: the packaged JSON schema and the tables of the docs.

    python scripts/settings.py

The schema lets the workflow check a configuration before anything runs, without importing the modules.
"""

import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pcc.configuration import BLOCKS
from pcc.deployment.predictor import Prediction
from pcc.models.boundary import BoundaryNetwork
from pcc.runtime.settings import schema_of
from pcc.stages.localize import localize
from pcc.training.run import Training

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "pcc/resources/schemas/settings.schema.json"
# Keywords that do not come from the block of a configuration that an entry's module gets.
FIXED = {
    "pcc.readers": ("output",),
    "pcc.clusters.providers": ("task",),
    "pcc.methods": ("classes", "clusters", "generator", "prompts"),  # the latter two come from `after`
    "pcc.localizations": ("method", "multiple_of"),
    "pcc.refine": ("image", "maps", "boundary"),
    "pcc.models": ("num_classes",),
}
OF_THE_STAGE = ("manifest", "classifier", "output", "shard", "type", "threads")


def parts() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every module that a configuration can name, and what it configures there."""
    patterns = {block.package: block.defines for block in BLOCKS.values()} | {"pcc.readers": r"def read\b"}
    for package, pattern in patterns.items():
        for file in sorted(ROOT.joinpath(*package.split(".")).glob("[a-z]*.py")):
            if found := re.search(rf"^{pattern}", file.read_text(encoding="utf-8"), re.MULTILINE):
                name = re.split(r"\W", found[0])[1]
                module = import_module(f"{package}.{file.stem}")
                # A provider with many settings keeps them in a class.
                yield module.__name__, getattr(module, "Settings", None) or getattr(module, name)


def settings() -> dict[str, Any]:
    """The schemas by module, and those of the blocks that several modules share."""
    found = {}
    inference = schema_of(localize, OF_THE_STAGE)
    for name, part in parts():
        package = name.rpartition(".")[0]
        found[name] = schema_of(part, FIXED[package])
        if package == "pcc.localizations":
            found[name]["properties"] = {**inference["properties"], **found[name]["properties"]}
            found[name]["required"] = [*inference["required"], *found[name]["required"]]
    shared = {
        "training": schema_of(Training),
        "prediction": schema_of(Prediction),
        "boundary": schema_of(BoundaryNetwork),
    }
    return found | shared


def schema_text() -> str:
    """Content of the schema file."""
    described = {
        "$comment": "Written by scripts/settings.py from the modules' signatures; do not edit.",
        "settings": settings(),
    }
    return json.dumps(described, indent=1) + "\n"


def main() -> None:
    """Write all files."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
