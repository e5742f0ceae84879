"""Versions are written in four kinds of files; they must agree, as nothing else would notice."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from fingerprints import Code

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = [ROOT / "environment.yml", *sorted((ROOT / "workflow/envs").glob("*.yaml"))]
# conda's names, where they are not PyPI's.
PYPI_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake"}
UNPINNED = {"python", "pip", "cxx-compiler"}
PART_OF = {"pydantic_core": "pydantic"}  # which asks for one version of it


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", PYPI_NAMES.get(name, name)).lower()


def pins(lines: list[Any]) -> dict[str, str]:
    """Version by name of `name =version` (conda), `name==version` (pip)."""
    found = {}
    for line in lines:
        if isinstance(line, dict):
            found |= pins([entry for entry in line["pip"] if not entry.startswith("-")])
        elif line.split(" ")[0] not in UNPINNED:
            name, version = re.fullmatch(r"([\w.-]+) ?==?([\w.]+)", line).groups()  # type: ignore[union-attr]
            found[canonical(name)] = version
    return found


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environments_have_the_tested_versions(file: Path) -> None:
    wanted = pins(yaml.safe_load(file.read_text())["dependencies"])
    assert wanted
    assert wanted == {name: constraints()[name] for name in wanted}


def test_the_whole_environment_holds_the_small_ones() -> None:
    whole, *small = [pins(yaml.safe_load(file.read_text())["dependencies"]) for file in ENVIRONMENTS]
    assert set().union(*small) <= set(whole)


RULE = re.compile(r"^rule (\w+):$(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
RULES = {
    name: (re.search(r'envs/([\w.]+)"', body), re.search(r"python -m pcc (\w+)", body))
    for file in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for name, body in RULE.findall(file.read_text())
}


@pytest.mark.parametrize("rule", RULES)
def test_every_import_of_a_rule_is_in_its_environment(rule: str) -> None:
    """Of the stage, of what it imports, and of all modules that it may choose from by name."""
    environment, stage = RULES[rule]
    assert environment and stage
    file = ROOT / "workflow/envs" / environment[1]
    provided = set(pins(yaml.safe_load(file.read_text())["dependencies"]))
    modules = reachable("pcc.__main__", f"pcc.stages.{stage[1]}")
    assert f"pcc.stages.{stage[1]}" in modules and len(modules) > 5
    imported = {name: module for module in modules for name in third_party(module)}
    distributions = packages_distributions()
    missing = {
        f"{name} (in {module})"
        for name, module in imported.items()
        if not {canonical(distribution) for distribution in distributions[name]} & provided
    }
    assert not missing


def reachable(*modules: str) -> set[str]:
    """What the modules import inside the package, and all that they may choose from by name."""
    code, found, waiting = Code(ROOT), set[str](), list(modules)
    while waiting:
        closure = code.closure(*waiting) - found
        found |= closure
        waiting = [name for module in closure for name in chosen_by_name(module)]
    return found


def chosen_by_name(module: str) -> Iterator[str]:
    """What `pcc.runtime.plugins` may load for it: modules of a package that define a function or class of some kind."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("load_attribute", "load_class"):
            package, _, part, _ = node.args
            assert isinstance(package, ast.Constant)
            name = part.value if isinstance(part, ast.Constant) else f"\\w+\\({ast.unparse(part)}\\)"
            for file in ROOT.joinpath(*str(package.value).split(".")).glob("[a-z]*.py"):
                if re.search(rf"^(def|class) {name}", file.read_text(encoding="utf-8"), re.MULTILINE):
                    yield f"{package.value}.{file.stem}"


def third_party(module: str) -> set[str]:
    """Names of packages that a module imports when it is loaded, but for the standard library and its own."""
    names = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    names = {PART_OF.get(name, name) for name in names}
    return names - sys.stdlib_module_names - {"pcc"}


def parsed(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def test_the_container_has_the_environments_python() -> None:
    wanted = re.findall(r"python =([\d.]+)", (ROOT / "environment.yml").read_text())
    assert set(re.findall(r"FROM python:([\d.]+)-", (ROOT / "Dockerfile").read_text())) == set(wanted)
