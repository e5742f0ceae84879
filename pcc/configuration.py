"""The configuration: its blocks, its defaults, and what follows from its entries.

Read by the workflow's rules too, so it imports the standard library and yaml only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Block(NamedTuple):
    """Named entries of the configuration.

    Attributes:
        key: of the block.
        package: of the modules that entries choose by name.
        defines: the line by which such a module is known among the package's others.
        names_module: the key of an entry that names its module; the entry's own name is its default.
        inner: keys of an entry that are no settings of its module.
    """

    key: str
    package: str
    defines: str
    names_module: str = "type"
    inner: tuple[str, ...] = ()


BLOCKS = {
    "clusters": Block("clusters", "pcc.clusters.providers", r"def propose\b", "provider"),
    "method": Block("methods", "pcc.methods", r"class \w+\(Method\)", inner=("model", "training")),
    "localization": Block("localizations", "pcc.localizations", r"class Localization\b"),
    "refinement": Block("refinements", "pcc.refine", r"def refine\b", inner=("boundary",)),
    "segmenter": Block(
        "segmenters", "pcc.models", r"class \w+\(Segmenter\)", inner=("model", "training", "prediction")
    ),
}
RESOURCES = Path(__file__).with_name("resources")
CHAIN = ("method", "localization", "refinement", "segmenter")


def schema() -> dict[str, Any]:
    """The JSON schema: every key with its description, type and default."""
    return yaml.safe_load((RESOURCES / "schemas/config.schema.yaml").read_text(encoding="utf-8"))


def settings_schema() -> dict[str, Any]:
    """The JSON schemas of the settings of each module that a configuration can name, and of shared blocks."""
    return json.loads((RESOURCES / "schemas/settings.schema.json").read_text(encoding="utf-8"))["settings"]


def fill_in(value: Any, rules: Mapping[str, Any]) -> None:
    """Set the defaults of the schema ``rules``, block by block."""
    if isinstance(value, list):
        for item in value:
            fill_in(item, rules.get("items", {}))
    elif isinstance(value, dict):
        known = rules.get("properties", {})
        for key, inner in known.items():
            if "default" in inner:
                value.setdefault(key, inner["default"])
        for key, item in value.items():
            fill_in(item, known.get(key) or rules.get("additionalProperties") or {})


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with all defaults, changed in place; an entry that is null is an empty one."""
    for block in BLOCKS.values():
        entries = config.get(block.key) or {}
        config[block.key] = {name: {} if entry is None else entry for name, entry in entries.items()}
    fill_in(config, schema())
    return config


def settings_of(config: Mapping[str, Any], part: str, name: str) -> dict[str, Any]:
    """The settings of an entry, the module that it names among them."""
    block = BLOCKS[part]
    return {block.names_module: name, **config[block.key][name]}


def module_of(config: Mapping[str, Any], part: str, name: str) -> str:
    """The module that an entry names."""
    block = BLOCKS[part]
    return f"{block.package}.{settings_of(config, part, name)[block.names_module]}"


def methods_behind(methods: Mapping[str, Any], name: str) -> list[str]:
    """A method and those it starts from, however far back."""
    before = (methods[name].get("after") or {}).values()
    return [name, *(far for other in before for far in methods_behind(methods, other))]


def encoder_of(methods: Mapping[str, Any], name: str) -> str:
    """The method whose encoder this one has: its own, or that of the generator it starts from."""
    generator = (methods[name].get("after") or {}).get("generator")
    return encoder_of(methods, generator) if generator else name


def files_in(settings: Any) -> list[str]:
    """Files named in settings (weights, class lists): a change in one is a change of input."""
    if isinstance(settings, str):
        return [settings] if Path(settings).suffix and Path(settings).is_file() else []
    if isinstance(settings, Mapping):  # a list that comes with the package is named without folder and suffix
        names = [settings.get(key) for key in ("classes", "nouns")]
        packaged = [str(path) for path in sorted(RESOURCES.glob("*.*")) if path.stem in names]
        return packaged + files_in(list(settings.values()))
    return [file for value in settings for file in files_in(value)] if isinstance(settings, list) else []
