"""One key of a shipped configuration changed to something it cannot be: one clear line, before anything runs."""

import copy
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration import check_config
from snakemake.exceptions import WorkflowError

from pcc.configuration import schema

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
DRAWN = 90  # of each file; 540 in all

Place = tuple[str | int, ...]
MUTATIONS: dict[str, Any] = {
    "text": "nonsense",
    "number": 1234567.5,
    "whole number": 3,
    "boolean": True,
    "negative": -1,
    "zero": 0,
    "huge": 10**30,
    "huge fraction": 1e30,
    "tiny": 1e-300,
    "NaN": math.nan,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "empty text": "",
    "empty list": [],
    "empty block": {},
    "too long": "x" * 5000,
    "two lines": "a\nb",
    "long list": [1] * 10_000,
    "null": None,
    "nested list": [[[1]]],
    "nested block": {"a": {"b": 1}},
}
# Keys that take any text, or any text of a kind that only the file system or a library knows.
WORDS = {
    *("name", "source", "path", "separator", "results", "weights", "nouns", "root", "classes", "train", "val"),
    *("masks", "score_train", "type", "clusters", "generator", "prompts"),
}
NULL = {"clip_norm", "image_size", "crf", "hv_bilstm", "clusters", "settings", "levels", "mean", "std", "at_home"}
NULL |= {"augmentation", "long_side", "randaugment", "names", "features", "score_train", "classes", "eval_classes"}
NULL |= {"threshold", "path"}
EMPTY = {"after", "settings", "augmentation", "scoring", "shards", "splits", "names"}
ZERO = {"dropout", "momentum", "weight_decay", "anneal", "iterations", "weight", "threshold", "background_factor"}
ZERO |= {"backbone_lr", "unfrozen_blocks", "cluster_loss", "consistency", "repel_weight", "refine_weight", "erase"}
ZERO |= {"background_weight", "jitter", "clutter", "partners", "at_home", "noise", "seed", "seeds", "mean_iou", "depth"}
ONE_OR_MORE = {"epochs", "batch_size", "checkpoint_every", "train", "val", "width", "levels", "top_k", "prompt_length"}
ONE_OR_MORE |= {
    "image_size",
    "hv_bilstm",
    "lr",
    "clip_norm",
    "sxy",
    "srgb",
    "side_channels",
    "rates",
    "scales",
    "power",
}
ONE_OR_MORE |= {"power", "reduction", "radius", "long_side", "scale", "std", "images", "loss_scales"}
TINY = ZERO | {"lr", "clip_norm", "confidence", "power", "top_k", "mean"} - {"unfrozen_blocks"}
SWITCHES = {"flip", "rotate90", "cache_features", "dilate", "divide_by_maximum", "avg_down"}


def is_legitimate(place: Place, name: str, value: Any) -> bool:
    """Why a mutated value may pass: the written list of the odd but legitimate."""
    key = next(part for part in reversed(place) if isinstance(part, str))
    inside_network = "backbone" in place or "features" in place
    if inside_network and key == "settings":
        return name in ("null", "empty block", "nested block")
    if inside_network and "settings" in place:  # timm knows its own settings; ours are plain and not negative
        return key != "output_stride" and (name != "huge" and name != "negative")
    match name:
        case "text":
            return key in WORDS
        case "whole number":
            return key in ZERO | ONE_OR_MORE
        case "boolean":
            return key in SWITCHES
        case "negative":
            return key == "levels"
        case "zero":
            return key in ZERO | {"levels", "mean"}
        case "tiny":
            return key in TINY
        case "null":
            return key in NULL
        case "empty block":
            return key in EMPTY or place[0] in ("clusters", "refinements")
        case "empty list":
            return key in {"splits", "loss_scales"}
    return False


def own_copy(value: Any) -> Any:
    """A copy without YAML's shared blocks."""
    if isinstance(value, dict):
        return {key: own_copy(item) for key, item in value.items()}
    return [own_copy(item) for item in value] if isinstance(value, list) else value


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(item, (*above, key))


def put(config: Any, place: Place, value: Any) -> Any:
    """The value that was there before."""
    for part in place[:-1]:
        config = config[part]
    before = config[place[-1]] if isinstance(config, list) else config.get(place[-1])
    config[place[-1]] = value
    return before


def lines_about(config: dict[str, Any]) -> list[str]:
    try:
        check_config(config, ROOT)
    except WorkflowError as error:
        return str(error).splitlines()
    return []


def drawn(file: Path) -> list[tuple[Place, str]]:
    every = [(place, name) for place in places(yaml.safe_load(file.read_text())) for name in MUTATIONS]
    return random.Random(file.name).sample(every, DRAWN)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_changed_key_is_refused_in_one_line_or_legitimate(file: Path) -> None:
    given = yaml.safe_load(file.read_text())
    wrong = []
    for place, name in drawn(file):
        config, value = own_copy(given), MUTATIONS[name]
        before = put(config, place, value)
        if before == value and type(before) is type(value):
            continue
        lines = lines_about(config)
        if not lines and not is_legitimate(place, name, value):
            wrong.append(f"{'.'.join(map(str, place))}: {name} was accepted instead of {before!r}")
        # A block that is gone takes others with it.
        if len(lines) > 1 and not isinstance(before, dict | list):
            wrong.append(f"{'.'.join(map(str, place))}: {name}: {lines}")
        wrong += [f"no clear line: {line!r}" for line in lines if not is_clear(line)]
    assert wrong == []


def is_clear(line: str) -> bool:
    return line.startswith("configuration: ") and line.isprintable() and len(line) < 400


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_unknown_key_is_refused_in_every_block(file: Path) -> None:
    given = own_copy(yaml.safe_load(file.read_text()))
    accepted = []
    for place in [(), *places(given)]:
        block = given
        for part in place:
            block = block[part]
        if isinstance(block, dict) and "settings" not in place[-1:]:
            config = own_copy(given)
            put(config, (*place, "sceds"), 1)
            accepted += [] if lines_about(config) else [place]
    assert accepted == []


@pytest.fixture(autouse=True)
def schema_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = schema()
    monkeypatch.setattr("configuration.schema", lambda: copy.deepcopy(rules))
