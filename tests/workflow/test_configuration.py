import copy
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration import check_config, typed
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from pcc.configuration import schema, settings_schema

ROOT = Path(__file__).parents[2]
TRAINING = {"image_size": 64, "batch_size": 8, "phases": [{"name": "main", "epochs": 2, "lr": 0.001}]}
MODEL = {"backbone": {"name": "resnet10t"}}
NETWORK = {"name": "resnet10t"}
GOOD: dict[str, Any] = {
    "dataset": {"name": "toy", "format": "shapes"},
    "clusters": {"none": {}, "mine": {"provider": "file", "path": "clusters.json"}},
    "methods": {"pcc": {"clusters": "mine", "model": {"backbone": {"name": "resnet10t"}}, "training": TRAINING}},
    "localizations": {"cam": {"image_size": 96}},
    "refinements": {"argmax": {}},
    "segmenters": {
        "light": {
            "type": "light_head",
            "model": {"backbone": {"name": "resnet10t"}},
            "training": copy.deepcopy(TRAINING),
        }
    },
    "experiments": [{"method": "pcc", "localization": "cam"}],
}


def problems(**changes: Any) -> list[str]:
    """What is said about the good configuration with some keys replaced."""
    config = copy.deepcopy(GOOD)
    update_config(config, changes)
    with pytest.raises(WorkflowError) as caught:
        check_config(config, ROOT)
    return str(caught.value).splitlines()


def test_defaults_are_filled_in() -> None:
    config = copy.deepcopy(GOOD)
    check_config(config, ROOT)
    assert config["seeds"] == [0]
    assert config["dataset"]["shards"] == {"train": 1, "val": 1}
    assert config["methods"]["pcc"] == {"after": {}, **GOOD["methods"]["pcc"]}
    assert config["segmenters"]["light"]["prediction"] == {"scales": [1.0], "flip": True}
    assert config["experiments"] == [{"method": "pcc", "localization": "cam", "supervision": "labels"}]


def test_lists_and_blocks_of_the_command_line_are_read_as_yaml() -> None:
    from snakemake.cli import parse_config

    given = parse_config(["seeds=[0, 1]", "methods={pcc: {clusters: none, model: {top_k: 0.1}}}", "results=out"])
    assert typed(given) == {
        "seeds": [0, 1],
        "methods": {"pcc": {"clusters": "none", "model": {"top_k": 0.1}}},
        "results": "out",
    }


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"sceds": [1]},
            "top level: unknown key 'sceds'; allowed: results, seeds, dataset, scoring, clusters, methods, "
            "localizations, refinements, segmenters, experiments",
        ),
        (
            {"methods": {"pcc": {"modle": {}}}},
            "methods.pcc: unknown key 'modle'; allowed: type, clusters, after, nouns, model, training",
        ),
        (
            {"refinements": {"walk": {"type": "random_walk", "boundary": {"labels": "argmax", "model": {}}}}},
            "refinements.walk.boundary: 'training' is missing",
        ),
        (
            {"dataset": {"name": "a/b", "format": "shapes"}},
            "dataset.name: 'a/b' names a folder; use letters, digits, '_', '-' and '.'",
        ),
        ({"seeds": ["a"]}, "seeds.0: 'a' is not allowed; a whole number from 0 to 4294967295"),
        (
            {"experiments": [{"supervision": "boxes", "segmenter": "light"}]},
            "experiments.0.supervision: 'boxes' is not allowed; one of labels, masks",
        ),
        (
            {"methods": {"data": {"type": "pcc"}}},
            "methods: 'data' is a folder of the workflow's own; choose another name",
        ),
        (
            {"experiments": [{"method": "pc", "localization": "cam"}]},
            "experiments.0.method: no 'pc' under methods; allowed: pcc",
        ),
        (
            {"methods": {"pcc": {"clusters": "taxo"}}},
            "methods.pcc.clusters: no 'taxo' under clusters; allowed: none, mine",
        ),
        (
            {"methods": {"pcc": {"after": {"generator": "sip"}}}},
            "methods.pcc.after.generator: no 'sip' under methods; allowed: pcc",
        ),
        (
            {"methods": {"pcc": {"after": {"generator": "pcc"}}}},
            "methods.pcc.after: leads back to 'pcc'; a method cannot begin with itself",
        ),
        ({"experiments": [{"method": "pcc", "refinement": "argmax"}]}, "experiments.0: 'localization' is missing"),
        (
            {"experiments": [{"method": "pcc", "localization": "cam", "segmenter": "light"}]},
            "experiments.0: 'refinement' is missing",
        ),
        (
            {"experiments": [{"supervision": "masks", "method": "pcc", "segmenter": "light"}]},
            "experiments.0: 'supervision: masks' takes a segmenter and nothing else",
        ),
        (
            {"methods": {"pcc": {"training": {"phases": [{"name": "main", "epochs": 2, "lr": "1e-3"}]}}}},
            "methods.pcc.training.phases.0.lr: YAML reads 1e-3 as text; write a point and a sign, as in 1.0e-3",
        ),
    ],
)
def test_each_problem_is_one_line(changes: dict[str, Any], line: str) -> None:
    assert problems(**changes) == [f"configuration: {line}"]


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    (line,) = problems(methods={"pcc": {"type": "base"}})
    start, _, allowed = line.partition("; allowed: ")
    assert start == "configuration: methods.pcc.type: no 'base' in pcc.methods"
    assert {"pcc", "cam"} <= set(allowed.split(", "))
    assert "base" not in allowed.split(", ")


def test_all_problems_are_told_at_once() -> None:
    assert len(problems(seeds=[], results=3, scoring={"splits": ["test"]})) == 3


def test_snakemake_ends_with_the_line_and_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**GOOD, "experiments": [{"method": "pcc", "localisation": "cam"}]}))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--configfile", str(file)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "experiments.0: unknown key 'localisation'; allowed: supervision, method, localization," in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "file", [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))], ids=lambda p: p.name
)
def test_shipped_configurations_are_good(file: Path) -> None:
    check_config(yaml.safe_load(file.read_text()), ROOT)


def described(rules: dict[str, Any], where: str = "") -> list[str]:
    """Keys of the schema that have no description."""
    missing = []
    for key, inner in rules.get("properties", {}).items():
        missing += [] if "description" in inner else [f"{where}.{key}"]
        missing += described(inner, f"{where}.{key}")
    for deeper in ("items", "additionalProperties"):
        if isinstance(rules.get(deeper), dict):
            missing += described(rules[deeper], f"{where}[]")
    return missing


def test_every_key_is_described() -> None:
    assert described(schema()) == []
    assert described({"properties": {"a": {}}}) == [".a"]


def test_schema_and_tables_are_what_the_signatures_say() -> None:
    script = runpy.run_path(str(ROOT / "scripts/settings.py"))
    for file, text in (("SCHEMA", "schema_text"), ("PAGE", "page_text")):
        assert script[file].read_text() == script[text](), f"{script[file]} is stale; run make settings"


def test_every_setting_has_a_meaning() -> None:
    def without(rules: dict[str, Any], where: str) -> list[str]:
        found = []
        for key, rule in rules.get("properties", {}).items():
            found += [] if rule.get("description") or "properties" in rule else [f"{where}.{key}"]
            for inner in (rule, *rule.get("anyOf", ()), rule.get("items", {})):
                found += without(inner, f"{where}.{key}")
        return found

    assert [line for name, rules in settings_schema().items() for line in without(rules, name)] == []
