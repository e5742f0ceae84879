"""Versions are written in four kinds of files; they must agree, as nothing else would notice."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = [ROOT / "environment.yml", *sorted((ROOT / "workflow/envs").glob("*.yaml"))]
# conda's names, where they are not PyPI's.
PYPI_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake"}
UNPINNED = {"python", "pip", "cxx-compiler"}


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
