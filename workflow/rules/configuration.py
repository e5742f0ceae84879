"""Validate the configuration before anything runs: one line per problem, with the allowed values."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from snakemake.exceptions import WorkflowError

from pcc.configuration import BLOCKS, CHAIN, fill_in, schema

# Numbers that YAML 1.1 reads as text.
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?e[-+]?\d+", re.IGNORECASE)


def check_config(config: dict[str, Any], root: Path) -> None:
    """Validate the configuration and fill in defaults.

    Args:
        config: modified in place.
        root: folder of the Snakefile.

    Raises:
        WorkflowError: one line per unknown or missing key, invalid value or undefined reference.
    """
    rules = schema()
    problems = [line for error in Draft202012Validator(rules).iter_errors(config) for line in explain(error)]
    if not problems:
        fill_in(config, rules)
        problems = [
            *undefined(config),
            *incomplete(config),
            *circular(config),
            *unknown_modules(config, root),
            *numbers_as_text(config),
        ]
    if problems:
        raise WorkflowError("\n".join(f"configuration: {problem}" for problem in problems))


def typed(value: Any) -> Any:
    """Parse values of `--config` as YAML: Snakemake passes items of lists and blocks as text."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def explain(error: ValidationError) -> list[str]:
    """Messages of a schema error: place, problem, allowed values."""
    where = ".".join(map(str, error.absolute_path)) or "top level"
    given, rule = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            allowed = error.schema["properties"]
            return [f"{where}: unknown key '{k}'; allowed: {', '.join(allowed)}" for k in given if k not in allowed]
        case "required":
            return [f"{where}: '{key}' is missing" for key in rule if key not in given]
        case "type":
            return [f"{where}: {given!r} must be of type {' or '.join([rule] if isinstance(rule, str) else rule)}"]
        case "enum":
            return [f"{where}: {given!r} must be one of {', '.join(rule)}"]
        case "not":
            return [f"{where}: '{given}' is a folder of the workflow's own; choose another name"]
        case "pattern":
            return [f"{where}: {given!r} names a folder; use letters, digits, '_', '-' and '.'"]
    return [f"{where}: {error.message}"]


def undefined(config: Mapping[str, Any]) -> Iterator[str]:
    """References to undefined entries."""
    references = [(f"methods.{n}.clusters", m["clusters"], "clusters") for n, m in config["methods"].items()]
    references += [
        (f"methods.{n}.after.{role}", name, "methods")
        for n, m in config["methods"].items()
        for role, name in m["after"].items()
    ]
    references.append(("scoring.clusters", config["scoring"]["clusters"], "clusters"))
    for i, experiment in enumerate(config["experiments"]):
        references += [(f"experiments.{i}.{step}", experiment.get(step), BLOCKS[step].key) for step in CHAIN]
    references += [
        (f"refinements.{n}.boundary.labels", r["boundary"]["labels"], "refinements")
        for n, r in config["refinements"].items()
        if "boundary" in r
    ]
    for where, name, block in references:
        if where.endswith(".boundary.labels") and "boundary" in config[block].get(name, {}):
            yield f"{where}: '{name}' has a boundary block itself; use a refinement without one, such as confident"
        if name is not None and name not in config[block]:
            yield f"{where}: no '{name}' under {block}; allowed: {', '.join(config[block]) or 'none is defined'}"


def circular(config: Mapping[str, Any]) -> Iterator[str]:
    """Methods that depend on themselves by `after`."""
    after = {name: set(method["after"].values()) for name, method in config["methods"].items()}
    for name in after:
        reached, front = set[str](), after[name]
        while front - reached:
            reached |= front
            front = {other for known in front for other in after.get(known, ())}
        if name in reached:
            yield f"methods.{name}.after: leads back to '{name}'; a method cannot begin with itself"


def incomplete(config: Mapping[str, Any]) -> Iterator[str]:
    """Experiments with missing steps."""
    for i, experiment in enumerate(config["experiments"]):
        given = [step in experiment for step in CHAIN]
        if experiment["supervision"] == "masks" and given != [False, False, False, True]:
            yield f"experiments.{i}: 'supervision: masks' takes a segmenter and nothing else"
        if experiment["supervision"] == "labels" and (not all(given[:2]) or given != sorted(given, reverse=True)):
            yield f"experiments.{i}: '{CHAIN[given.index(False)]}' is missing"


def unknown_modules(config: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Entries with an unknown module."""
    choices = [("dataset.format", "pcc.readers", r"def read\b", config["dataset"]["format"])]
    for block in BLOCKS.values():
        for name, entry in config[block.key].items():
            module = entry.get(block.names_module, name)
            choices.append((f"{block.key}.{name}.{block.names_module}", block.package, block.defines, module))
    for where, package, defines, module in choices:
        files = sorted(root.joinpath(*package.split(".")).glob("*.py"))
        allowed = [f.stem for f in files if re.search(rf"^{defines}", f.read_text(encoding="utf-8"), re.MULTILINE)]
        if module not in allowed:
            yield f"{where}: no '{module}' in {package}; allowed: {', '.join(allowed)}"


def numbers_as_text(value: Any, where: str = "") -> Iterator[str]:
    """Numbers such as `1e-3`, which YAML reads as text."""
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        yield f"{where}: YAML reads {value} as text; write a point and a sign, as in 1.0e-3"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from numbers_as_text(item, f"{where}.{key}".lstrip("."))
