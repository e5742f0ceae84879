"""The error for bad input, and the one place where settings are checked by name and type."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from pcc.runtime.ranges import refusal, shown
from pcc.runtime.settings import SettingsOf, block_in, schema_of_type, signature_of

T = TypeVar("T")


class InputError(Exception):
    """Bad input: each problem is one line saying what is wrong, where, and what to do (exit code 2).

    Args:
        problems: one line, or all the lines found at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


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
