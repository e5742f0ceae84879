import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from configuration import faults

from pcc.runtime.errors import InputError, Problem, call_with
from pcc.runtime.plugins import load_attribute
from pcc.runtime.settings import (
    PAIR,
    Fraction,
    ImageCount,
    Name,
    PassedOn,
    Pixels,
    Rate,
    Rule,
    Scales,
    Seed,
    SettingsOf,
    Text,
    limits,
    schema_of,
)


def stage(
    path: str, *, size: int, mode: Literal["a", "b"] = "a", lr: float = 0.1, sizes: Sequence[int] = ()
) -> tuple[Any, ...]:
    return path, size, mode, lr, tuple(sizes)


def test_settings_arrive_by_name_in_their_types() -> None:
    assert call_with(stage, {"size": 3, "lr": "1e-3", "sizes": [1, 2]}, "x", path="p") == ("p", 3, "a", 0.001, (1, 2))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        call_with(stage, {"sise": 3, "mode": "c", "lr": "fast"}, "config.x", path="p")
    assert caught.value.problems == [
        "config.x: unknown setting 'sise'; allowed: size, mode, lr, sizes",
        "config.x: setting 'size' is missing",
        "config.x.mode: 'c' is not allowed; one of a, b",
        "config.x.lr: 'fast' is not allowed; a number",
    ]


def test_settings_cannot_replace_what_is_fixed() -> None:
    with pytest.raises(InputError, match="unknown setting 'path'"):
        call_with(stage, {"size": 3, "path": "q"}, "x", path="p")


def test_classes_are_checked_too() -> None:
    @dataclass
    class Phase:
        name: str
        epochs: int

    assert call_with(Phase, {"epochs": 3}, "x", name="n") == Phase("n", 3)
    with pytest.raises(InputError, match=r"x.epochs: 2.5 is not allowed; a whole number"):
        call_with(Phase, {"epochs": 2.5}, "x", name="n")


def test_keywords_of_a_base_class_are_checked_too() -> None:
    class Base:
        def __init__(self, size: int, flip: bool = True) -> None:
            self.size, self.flip = size, flip

    class Derived(Base):
        def __init__(self, name: str, **settings: Any) -> None:
            super().__init__(**settings)
            self.name = name

    assert call_with(Derived, {"size": 3}, "x", name="n").size == 3
    with pytest.raises(InputError) as caught:
        call_with(Derived, {"sise": 3, "flip": "perhaps"}, "x", name="n")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["x", "x", "x.flip"]
    assert caught.value.problems[0] == "x: unknown setting 'sise'; allowed: size, flip"


def test_an_unknown_key_of_any_localization_is_one_line() -> None:
    for name in ("cam", "iscam", "affinity"):
        localization = load_attribute("pcc.localizations", name, "Localization", "x")
        with pytest.raises(InputError, match=r"unknown setting 'scalse'; allowed: .*scales"):
            call_with(localization, {"scalse": [1.0]}, "localization", method=None)


def files(count: int) -> list[str]:
    return [
        f"/my photos/t.csv line {i}: /my photos/{i:02d}.png: mask is {i}x4 pixels; make it fit" for i in range(count)
    ]


@pytest.mark.parametrize(
    ("problems", "lines"),
    [
        (["one"], ["one"]),
        (files(7), [f"7 of this kind: {files(1)[0]} (also 01.png, 02.png, 03.png, 04.png and 2 more)"]),
        (
            [f"t.csv line {i}: image id x{i} has a path in it; rename it" for i in (3, 9)],
            ["2 of this kind: t.csv line 3: image id x3 has a path in it; rename it (also t.csv line 9)"],
        ),
        (
            [
                Problem(f"{name}: no label", name, "{count} images have no label: {names}; label them")
                for name in "abcdefg"
            ],
            ["7 images have no label: a, b, c, d, e and 2 more; label them"],
        ),
        ([Problem("a: no label", "a", "{count}: {names}")], ["a: no label"]),
        # Two classes are two problems, and so are two settings, whatever their values.
        (["t.csv line 2: unknown class 'a1'", "t.csv line 3: unknown class 'a2'"],) * 2,
        (["methods.a.lr: 1 is invalid", "methods.b.lr: 1 is invalid", "seeds: 0", "seeds: 1"],) * 2,
        (["twice", "twice"], ["twice (2 times)"]),
    ],
)
def test_problems_that_differ_in_file_or_id_are_one_line(problems: list[str], lines: list[str]) -> None:
    assert InputError(problems).summary() == lines


def test_only_the_first_kinds_are_shown_and_the_rest_counted() -> None:
    problems = [f"setting {name}: bad" for name in "abcdefghijkl"]
    shown = InputError([*problems, problems[-1]]).summary()
    assert shown == [*problems[:10], "3 more problems of 2 other kinds; list all with --all"]
    assert InputError(problems[:11]).summary()[-1] == "1 more problem of 1 other kind; list all with --all"


@dataclass(frozen=True)
class Part:
    name: Name
    lr: Rate = 0.1


def ranged(
    *,
    count: ImageCount = 1,
    seed: Seed = 0,
    rate: Rate = 0.1,
    share: Fraction | None = None,
    flip: bool = True,
    word: Text = "a",
    mode: Literal["a", "b"] = "a",
    scales: Scales = (1.0,),
    pair: Annotated[Sequence[Pixels], PAIR, Rule("ordered")] = (1, 2),
    parts: Annotated[Sequence[Part], limits(min_length=1, max_length=3), Rule("distinct", "name")] = (),
    crf: Annotated[Mapping[str, Any], SettingsOf("pcc.refine.crf:dense_crf", ("image", "probabilities"))] | None = None,
    rest: PassedOn | None = None,
) -> None:
    pass


REFUSED: list[tuple[str, Any, str]] = [
    ("count", 0, "count: 0 is not allowed; a whole number from 1 to 65536 (images)"),
    ("count", -3, "count: -3"),
    ("count", True, "count: true"),
    ("count", 2.0, "count: 2.0"),
    ("count", "4", "count: '4'"),
    ("count", None, "count: null"),
    ("count", 10**30, "count: 1000000000000000000000000000000"),
    ("count", [4], "count: [4]"),
    ("seed", -1, "seed: -1 is not allowed; a whole number from 0 to 4294967295"),
    ("seed", 2**32, "seed: 4294967296"),
    ("rate", 0, "rate: 0 is not allowed; a number above 0, at most 100"),
    ("rate", math.nan, "rate: nan"),
    ("rate", math.inf, "rate: inf"),
    ("rate", False, "rate: false"),
    ("rate", "0.1", "rate: '0.1'"),
    ("rate", "1e-3x", "rate: '1e-3x'"),
    ("rate", "1e99", "rate: '1e99'"),
    ("share", 1.01, "share: 1.01 is not allowed; a number from 0 to 1 or null"),
    ("flip", 1, "flip: 1 is not allowed; true or false"),
    ("flip", "yes", "flip: 'yes'"),
    ("word", "", "word: '' is not allowed; text of 1 to 1000 characters on one line"),
    ("word", "a\n", "word: 'a\\n'"),
    ("word", "x" * 5000, "word: 'xxxxx"),
    ("mode", ["a"], "mode: ['a'] is not allowed; one of a, b"),
    ("scales", [], "scales: [] is not allowed; a list of 1 to 32 items, each a number from 0.05 to 8"),
    ("scales", [1.0, math.nan], "scales: [1.0, nan]"),
    ("scales", 1.0, "scales: 1.0"),
    ("scales", [1] * 10**6, "scales: [1, 1, 1"),
    ("pair", [3, 2], "pair: [3, 2] is not allowed; a list of 2 items in ascending order, each a whole number from 1"),
    ("pair", [1, 2, 3], "pair: [1, 2, 3]"),
    ("parts", [], "parts: [] is not allowed; a list of 1 to 3 items, each with another name"),
    ("parts", {"name": "a"}, "parts: {'name': 'a'}"),
    ("parts", [{"name": "a"}, {"name": "a"}], "parts: [{'name': 'a'}, {'name': 'a'}]"),
    ("parts", [{"name": "a"}, 3], "parts: [{'name': 'a'}, 3]"),
    ("parts", [{"name": "a", "lr": -1.0}], "parts.0.lr: -1.0 is not allowed; a number above 0"),
    ("parts", [{"lr": 1}], "parts.0: setting 'name' is missing"),
    ("crf", {"gaussian": {"sxy": 3, "weight": 3}, "bilateral": {"sxy": 3, "srgb": 3, "weight": 3}}, "crf: setting 'it"),
    (
        "crf",
        {"iterations": 1, "gaussian": {"sxy": 3}, "bilateral": {"sxy": 3, "srgb": 3, "weight": 3}},
        "crf.gaussian: ",
    ),
    ("crf", 3, "crf: 3 is not allowed; a block of settings or null"),
    (
        "rest",
        {"channels": [10**6]},
        "rest: {'channels': [1000000]} is not allowed; a block of text, numbers up to 8192",
    ),
    ("rest", {"a": {"b": {"c": math.inf}}}, "rest: {'a': "),
    ("rest", {3: 4}, "rest: {3: 4}"),
]


@pytest.mark.parametrize(("key", "value", "line"), REFUSED)
def test_what_is_out_of_range_is_one_short_line(key: str, value: Any, line: str) -> None:
    with pytest.raises(InputError) as caught:
        call_with(ranged, {key: value}, "x")
    (problem,) = caught.value.problems
    assert problem.startswith(f"x.{line}")
    assert len(problem) < 250 and problem.isprintable()


@pytest.mark.parametrize(("key", "value", "line"), REFUSED)
def test_the_schema_refuses_what_a_call_refuses(key: str, value: Any, line: str) -> None:
    assert list(faults({key: value}, schema_of(ranged), "x")) != []


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 65536, "seed": 2**32 - 1, "rate": 1e-12, "share": 1, "word": "über alles", "scales": [1, 0.5, 2.25]},
        {"pair": [5, 5], "parts": [{"name": "a"}, {"name": "b", "lr": 100}], "share": None, "mode": "b", "crf": None},
        {"rest": {"channels": [32, 64], "avg_down": False, "act": "gelu", "deep": {"er": [None, [1.5]]}}},
    ],
)
def test_the_ends_of_ranges_and_odd_values_pass_both_checks(settings: dict[str, Any]) -> None:
    call_with(ranged, settings, "x")
    assert list(faults(settings, schema_of(ranged), "x")) == []


@pytest.mark.parametrize("settings", [[], "a", 3, None, True])
def test_settings_that_are_no_block_are_one_line(settings: Any) -> None:
    with pytest.raises(InputError, match=r"^x: .* is not allowed; a block of settings$"):
        call_with(ranged, settings, "x")
