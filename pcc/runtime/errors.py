"""Errors that are one line, and the one place where settings are checked by name and type."""

import inspect
import re
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from pcc.runtime.ranges import refusal, shown
from pcc.runtime.settings import SettingsOf, block_in, schema_of_type, signature_of

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


class ProcessLost(Exception):
    """A process that this one needs was killed: one line, no fault of the input (exit code 1). A rerun resumes."""

    @classmethod
    def of(cls, name: str, code: int) -> "ProcessLost":
        """The line for the process called ``name``; its exit code is negative, or above 128, after a signal.

        >>> print(ProcessLost.of("a data loader", -9))
        a data loader was killed (signal 9), often for lack of memory; lower --threads or allow more memory, then rerun
        """
        code = 128 - code if code > 128 else code
        if code == -signal.SIGBUS:
            return cls(f"{name} was killed (signal {-code}): {NO_SHARED_MEMORY}")
        if code == -signal.SIGKILL:
            why = "often for lack of memory; lower --threads or allow more memory, then rerun"
            return cls(f"{name} was killed (signal {-code}), {why}")
        how = f"was killed (signal {-code})" if code < 0 else f"ended unexpectedly (exit code {code})"
        return cls(f"{name} {how}; rerun to resume")


NO_SHARED_MEMORY = "too little shared memory; enlarge /dev/shm (docker run --shm-size) or lower --threads, then rerun"


def out_of_memory(error: Exception) -> str | None:
    """The line for an error of Python or torch that means too little memory; None for any other.

    >>> out_of_memory(MemoryError())
    'out of memory; lower batch_size, image_size or --threads, or allow more memory, then rerun'
    >>> out_of_memory(ValueError("memory"))
    """
    text = str(error)
    if isinstance(error, RuntimeError) and ("shared memory" in text or "</torch_" in text):
        return NO_SHARED_MEMORY
    # torch has no class of its own for a CPU's memory, and its class for a GPU's would have to be imported.
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text
    unloaded = isinstance(error, ImportError) and ("failed to map" in text or "cannot allocate memory" in text)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and of_torch) or unloaded:
        return "out of memory; lower batch_size, image_size or --threads, or allow more memory, then rerun"
    return None


def call_with(function: Callable[..., T], settings: Any, where: str, **fixed: Any) -> T:
    """Call ``function(**fixed, **settings)`` after checking every setting against its signature.

    Settings whose type is a dataclass, or a list of one, are checked in the same way, and so are those that
    `SettingsOf` marks. Nothing is converted but whole numbers to floating-point ones, and the text
    ``1e-3``, as which YAML reads a number.

    Args:
        function: what the settings configure; its keyword names are the allowed keys.
        settings: one slice of the configuration.
        where: the slice's place in the configuration, for the message.
        fixed: arguments that do not come from the configuration.

    Raises:
        InputError: unknown and missing keys with the allowed names, and values out of range, all at once.
    """
    problems, checked = _checked(function, settings, where, fixed)
    if problems:
        raise InputError(problems)
    return function(**fixed, **checked)


def _checked(
    function: Callable[..., Any], settings: Any, where: str, fixed: Collection[str]
) -> tuple[list[str], dict[str, Any]]:
    """Problems of settings, and their values as the annotated types."""
    if not isinstance(settings, Mapping):
        return [refusal(where, settings, {"type": "object", "properties": {}})], {}
    signature = signature_of(function)
    allowed = [name for name in signature.named if name not in fixed]
    problems = [
        f"{where}: unknown setting {shown(key)}; allowed: {', '.join(allowed) or 'none'}"
        for key in settings
        if key not in allowed and (key in fixed or not signature.open_ended)
    ]
    required = [n for n in allowed if signature.named[n].default is inspect.Parameter.empty]
    problems += [f"{where}: setting '{key}' is missing" for key in required if key not in settings]
    checked: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in allowed:
            checked[key] = value
            continue
        try:
            made = _blocks(value, block_in(signature.hints.get(key)), f"{where}.{key}")
            checked[key] = signature.convert(key, made)
        except InputError as error:
            problems += error.problems
        except ValidationError:
            problems.append(refusal(f"{where}.{key}", value, schema_of_type(signature.hints[key])))
    return problems, checked


def reason(error: Exception) -> str:
    """An error of another library on one line."""
    return shortened(str(error)) or type(error).__name__


def shortened(text: str) -> str:
    """Text on one line, at most 300 characters."""
    words = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return words if len(words) <= 300 else f"{words[:300]}…"


def _blocks(value: Any, block: SettingsOf | type | None, where: str) -> Any:
    """The value with each block in it checked, and made a dataclass if it is to be one."""
    if block is not None and isinstance(value, Mapping):
        if isinstance(block, type):
            return call_with(block, value, where)
        if problems := _checked(block.load(), value, where, block.fixed)[0]:
            raise InputError(problems)
    elif block is not None and isinstance(value, list):
        return [_blocks(item, block, f"{where}.{number}") for number, item in enumerate(value)]
    return value
