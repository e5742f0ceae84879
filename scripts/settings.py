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

from pcc.configuration import BLOCKS, schema
from pcc.deployment.predictor import Prediction
from pcc.models.boundary import BoundaryNetwork
from pcc.runtime.ranges import in_words
from pcc.runtime.settings import schema_of
from pcc.stages.localize import localize
from pcc.training.run import Training

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/configuration.md"
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
# Blocks with a table of their own.
LINKS = {
    "backbone": "block, see [backbone](#backbone)",
    "features": "block, see [backbone](#backbone)",
    "phases": "list of 1 to 64 blocks, below",
    "augmentation": "block, below",
    "crf": "block, see [CRF](#refinements)",
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


def page_text() -> str:
    """docs/configuration.md with each table between its marks written anew."""
    known = settings()
    known["backbone"] = known["pcc.methods.cam"]["properties"]["backbone"]
    properties = known["training"]["properties"]
    known["training.phases"] = properties["phases"]["items"]
    known["training.augmentation"] = properties["augmentation"]["anyOf"][0]
    known |= own_keys()
    known["pcc.refine.crf.dense_crf"] = known["prediction"]["properties"]["crf"]["anyOf"][0]

    def table(found: re.Match[str]) -> str:
        name, _, but = found[1].partition(" without ")
        left_out = known[but]["properties"] if but else ()
        rows = [row for row in _rows(known[name]) if row[0] not in left_out]
        lines = ["| setting | values | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{key}` | {values} | {default} | {meaning} |" for key, values, default, meaning in rows]
        return "\n".join([f"<!-- settings: {found[1]} -->", "", *lines, "", "<!-- end -->"])

    marked = r"<!-- settings: (.+?) -->.*?<!-- end -->"
    return re.sub(marked, table, PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def own_keys() -> dict[str, Any]:
    """The configuration's own keys, block by block."""
    whole = schema()
    blocks = whole["properties"]
    top = {"properties": {key: blocks[key] for key in ("results", "seeds")}, "required": []}
    found = {"configuration": top, "dataset": blocks["dataset"], "scoring": blocks["scoring"]}
    found |= {name: blocks[name]["additionalProperties"] for name in ("methods", "segmenters")}
    found["experiments"] = blocks["experiments"]["items"]
    found["refinements.boundary"] = blocks["refinements"]["additionalProperties"]["properties"]["boundary"]
    return {name: _resolved(rules, whole["$defs"]) for name, rules in found.items()}


def _resolved(rules: Any, defined: dict[str, Any]) -> Any:
    """Rules without references."""
    if isinstance(rules, list):
        return [_resolved(item, defined) for item in rules]
    if not isinstance(rules, dict):
        return rules
    named = defined[rules["$ref"].rpartition("/")[2]] if "$ref" in rules else {}
    return {key: _resolved(value, defined) for key, value in {**named, **rules}.items() if key != "$ref"}


def _rows(rules: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, allowed values, default and meaning of each setting; those of inner blocks after their own."""
    for key, rule in rules["properties"].items():
        inner = next((r for r in (rule, *rule.get("anyOf", ())) if "properties" in r and key != "prediction"), None)
        null = " or null" if inner is not rule and inner is not None else ""
        values = f"{LINKS.get(key, 'block')}{null}" if inner else LINKS.get(key) or re.sub(r"^an? ", "", in_words(rule))
        default = (
            f"`{_as_yaml(rule['default'])}`" if "default" in rule else "–" if key in rules.get("required", ()) else ""
        )
        meaning = rule.get("description", "").replace("``", "`").replace("|", "\\|")
        for python, yaml in (("None", "null"), ("False", "`false`"), ("True", "`true`")):
            meaning = re.sub(rf"\b{python}\b", yaml, meaning)
        values = values.replace(" on one line", "")
        values = re.sub(r"(path|text) of 1 to [14]000 characters", r"\1", values)  # as long as any path, or line
        yield f"{above}{key}", values.replace("|", "\\|"), default, meaning
        if inner and key not in LINKS:
            yield from _rows(inner, f"{above}{key}.")


def _as_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_as_yaml(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
