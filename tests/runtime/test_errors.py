from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pcc.runtime.errors import InputError, Problem, call_with
from pcc.runtime.plugins import load_attribute


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
        "config.x.mode: invalid value 'c': Input should be 'a' or 'b'",
        "config.x.lr: invalid value 'fast': Input should be a valid number, unable to parse string as a number",
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
    with pytest.raises(InputError, match=r"x.epochs: invalid value 2.5"):
        call_with(Phase, {"epochs": 2.5}, "x", name="n")


def test_keywords_of_a_base_class_are_checked_too() -> None:
    class Base:
        def __init__(self, size: int, flip: bool = True) -> None:
            self.size, self.flip = size, flip

    class Derived(Base):
        def __init__(self, name: str, **settings: Any) -> None:
            super().__init__(**settings)
            self.name = name

    assert call_with(Derived, {"size": "3"}, "x", name="n").size == 3
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
