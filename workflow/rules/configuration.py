"""Validate the configuration before anything runs: one line per problem, with the allowed values."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from snakemake.exceptions import WorkflowError

from pcc.configuration import BLOCKS, CHAIN, fill_in, module_of, schema, settings_schema
from pcc.runtime.ranges import KEYWORDS, refusal, shown

# Numbers that YAML 1.1 reads as text.
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?e[-+]?\d+", re.IGNORECASE)


def _keyword(name: str) -> Any:
    def check(_validator: Any, wanted: Any, value: Any, _rules: Any) -> Iterator[ValidationError]:
        if not KEYWORDS[name](value, wanted):
            yield ValidationError(name)

    return check


# Whole numbers are not written with a point, booleans are no numbers, and numbers are finite.
TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
        ),
    }
)
Validator = extend(Draft202012Validator, {name: _keyword(name) for name in KEYWORDS}, type_checker=TYPES)


def check_config(config: dict[str, Any], root: Path) -> None:
    """Validate the configuration and fill in defaults.

    Args:
        config: modified in place.
        root: folder of the Snakefile.

    Raises:
        WorkflowError: one line per unknown or missing key, invalid value or undefined reference.
    """
    try:
        problems = list(dict.fromkeys(_problems(config, root)))
    except RecursionError:
        problems = ["a block holds itself by a YAML anchor; write it out"]
    if problems:
        raise WorkflowError("\n".join(f"configuration: {problem}" for problem in problems))


def _problems(config: dict[str, Any], root: Path) -> Iterator[str]:
    rules = schema()
    wrong = [line for error in Validator(rules).iter_errors(config) for line in explain(error)]
    if wrong:
        yield from wrong
        return
    fill_in(config, rules)
    texts = list(numbers_as_text(config))
    yield from texts
    yield from undefined(config)
    yield from incomplete(config)
    yield from circular(config)
    yield from unknown_modules(config, root)
    told = tuple(f"{line.partition(':')[0]}:" for line in texts)
    yield from (line for line in out_of_range(config) if not line.startswith(told))


def out_of_range(config: Mapping[str, Any]) -> Iterator[str]:
    """Settings that their modules would refuse, in the words of `pcc.runtime.errors.call_with`.

    A module without a schema, such as one of your own, checks its settings itself when its stage runs.
    """
    known = settings_schema()

    def check(settings: Any, name: str, where: str) -> Iterator[str]:
        return faults(settings, known[name], where) if name in known else iter(())

    dataset = config["dataset"]
    yield from check(dataset["settings"], f"pcc.readers.{dataset['format']}", "dataset.settings")
    for part, block in BLOCKS.items():
        for name, entry in config[block.key].items():
            module, where = module_of(config, part, name), f"{block.key}.{name}"
            if "training" in block.inner:
                yield from check(entry["model"], module, f"{where}.model")
                yield from check(entry["training"], "training", f"{where}.training")
            else:
                own = {key: value for key, value in entry.items() if key not in (block.names_module, *block.inner)}
                yield from check(own, module, where)
            if "prediction" in block.inner:
                yield from check(entry["prediction"], "prediction", f"{where}.prediction")
            if boundary := entry.get("boundary"):
                yield from check(boundary["model"], "boundary", f"{where}.boundary.model")
                yield from check(boundary["training"], "training", f"{where}.boundary.training")


def faults(settings: Any, rules: Mapping[str, Any], where: str) -> Iterator[str]:
    """Problems of one block of settings."""
    if not isinstance(settings, dict):
        yield refusal(where, settings, rules)
        return
    known = rules["properties"]
    for key in settings:
        if key not in known:
            yield f"{where}: unknown setting {shown(key)}; allowed: {', '.join(known) or 'none'}"
    for key in rules["required"]:
        if key not in settings:
            yield f"{where}: setting '{key}' is missing"
    for key, value in settings.items():
        if key in known:
            inner = list(_inner_faults(value, known[key], f"{where}.{key}"))
            yield from inner
            if not inner and not Validator(known[key]).is_valid(value):
                yield refusal(f"{where}.{key}", value, known[key])


def _inner_faults(value: Any, rules: Mapping[str, Any], where: str) -> Iterator[str]:
    """Problems inside a block, or a list of blocks, that a setting holds."""
    for rule in (rules, *rules.get("anyOf", ())):
        if isinstance(value, dict) and "properties" in rule:
            yield from faults(value, rule, where)
        elif (
            isinstance(value, list)
            and "properties" in rule.get("items", {})
            and all(isinstance(i, dict) for i in value)
        ):
            for number, item in enumerate(value):
                yield from faults(item, rule["items"], f"{where}.{number}")


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
            return [
                f"{where}: unknown key {shown(k)}; allowed: {', '.join(allowed)}" for k in given if k not in allowed
            ]
        case "required":
            return [f"{where}: '{key}' is missing" for key in rule if key not in given]
        case "not":
            return [f"{where}: '{given}' is a folder of the workflow's own; choose another name"]
        case "pattern":
            return [f"{where}: {shown(given)} names a folder; use letters, digits, '_', '-' and '.'"]
    return [refusal(where, given, error.schema)]


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
