"""The error for bad input, and the one place where settings are checked by name and type."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

T = TypeVar("T")
SHOWN_NAMES, SHOWN_LINES = 5, 10
# What a line begins with: files, with or without a line number, each followed by a colon.
PLACES = re.compile(r"(?:[^:]*(?:/| line \d)[^:]*: )+")
# What differs between lines of one kind: ids, paths and numbers, but not a quoted name or value.
VARIABLE = re.compile(r"(?<=image id )(?:'[^']*'|\S+)|('[^']*')|\S*/\S*|\d+")


class Problem(str):
    """A line about one file or id that other lines may share.

    Args:
        line: the whole line, for when it is the only one of its kind.
        name: the file or id in it.
        many: the line for all of its kind, with ``{count}`` and ``{names}``.
    """

    def __new__(cls, line: str, name: str, many: str) -> "Problem":
        self = super().__new__(cls, line)
        self.name, self.many = name, many
        return self

    name: str
    many: str


class InputError(Exception):
    """Bad input: each problem is one line saying what is wrong, where, and what to do (exit code 2).

    Args:
        problems: one line, or all the lines found at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def summary(self) -> list[str]:
        """The problems for people: those that differ only in file or id as one line, and the first kinds only."""
        kinds: dict[str, list[str]] = {}
        for problem in self.problems:
            kinds.setdefault(_kind(problem), []).append(problem)
        lines = [_as_one(alike) for alike in kinds.values()]
        if hidden := len(lines) - SHOWN_LINES:
            left = sum(map(len, list(kinds.values())[SHOWN_LINES:]))
            rest = f"{left} more problem{'s' * (left != 1)} of {hidden} other kind{'s' * (hidden != 1)}"
            lines[SHOWN_LINES:] = [f"{rest}; list all with --all"] if hidden > 0 else []
        return lines


def name_some(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """``a, b, c, d, e and 58 more``."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _kind(problem: str) -> str:
    """What problems that differ only in file, line or id have in common."""
    if isinstance(problem, Problem):
        return problem.many
    place = PLACES.match(problem)
    # A line without a file is about a setting, whose name and value are the problem.
    return VARIABLE.sub(lambda found: found[1] or "#", problem[place.end() :]) if place else problem


def _as_one(alike: Sequence[str]) -> str:
    first, count = alike[0], len(alike)
    if count == 1:
        return first
    if isinstance(first, Problem):
        names = name_some(list(dict.fromkeys(p.name for p in alike if isinstance(p, Problem))))
        return first.many.replace("{count}", str(count)).replace("{names}", names)
    if not PLACES.match(first):
        return f"{first} ({count} times)"
    others = list(dict.fromkeys(filter(None, map(_place, alike[1:]))))
    return f"{count} of this kind: {first} (also {name_some(others, SHOWN_NAMES - 1)})"


def _place(problem: str) -> str:
    """The file or line that a problem begins with; the innermost where it names several."""
    places = PLACES.match(problem)
    return places[0].removesuffix(": ").rpartition(": ")[2].rpartition("/")[2] if places else ""


def call_with(function: Callable[..., T], settings: Mapping[str, Any], where: str, **fixed: Any) -> T:
    """Call ``function(**fixed, **settings)`` after checking every setting against its signature.

    Values are converted to the annotated type where that loses nothing (YAML reads ``1e-3`` as a word). Settings whose
    type is a dataclass, or a sequence of one, are checked in the same way.

    Args:
        function: what the settings configure; its keyword names are the allowed keys.
        settings: one slice of the configuration.
        where: the slice's place in the configuration, for the message.
        fixed: arguments that do not come from the configuration.

    Raises:
        InputError: unknown and missing keys with the allowed names, and values of another type, all at once.
    """
    named, hints, open_ended = _parameters(function)
    allowed = [n for n in named if n not in fixed]
    problems = [
        f"{where}: unknown setting '{key}'; allowed: {', '.join(allowed) or 'none'}"
        for key in settings
        if key not in allowed and (key in fixed or not open_ended)
    ]
    required = [n for n in allowed if named[n].default is inspect.Parameter.empty]
    problems += [f"{where}: setting '{key}' is missing" for key in required if key not in settings]
    checked: dict[str, Any] = {}
    for key, value in settings.items():
        try:
            checked[key] = _adapt(value, hints[key], f"{where}.{key}") if key in allowed and key in hints else value
        except InputError as error:
            problems += error.problems
        except ValidationError as error:
            problems.append(f"{where}.{key}: invalid value {value!r}: {error.errors()[0]['msg']}")
    if problems:
        raise InputError(problems)
    return function(**fixed, **checked)


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, Any], bool]:
    """Keywords of a function or class, their types, and whether any other keyword is taken too.

    A constructor that takes ``**settings`` hands them to that of its base class, so the base's keywords count as well.
    """
    named: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    bases = function.__mro__ if inspect.isclass(function) else ()
    for maker in [vars(base)["__init__"] for base in bases if "__init__" in vars(base)] or [function]:
        parameters = inspect.signature(maker).parameters
        keywords = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        named, hints = {**keywords, **named}, {**get_type_hints(maker), **hints}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            named.pop("self", None)
            return named, hints, False
    return named, hints, True


def _adapt(value: Any, hint: Any, where: str) -> Any:
    """The value as the annotated type; settings of a dataclass, or a list of them, are checked by `call_with`."""
    nested: Any = next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)
    if nested is not None and isinstance(value, Mapping):
        return call_with(nested, value, where)
    if nested is not None and isinstance(value, list):
        return [_adapt(item, nested, f"{where}[{i}]") for i, item in enumerate(value)]
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except PydanticSchemaGenerationError:
        return value
