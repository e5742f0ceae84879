"""The one kind of error a user can cause, and the door where settings are checked by name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(Exception):
    """Bad input: each problem is one line saying what is wrong, where, and what to do (exit code 2).

    Args:
        problems: one line, or all the lines found at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def call_with(function: Callable[..., T], settings: Mapping[str, Any], where: str, **fixed: Any) -> T:
    """Call ``function(**fixed, **settings)`` after checking every name against its signature.

    Args:
        function: what the settings configure; its keyword names are the allowed keys.
        settings: one slice of the configuration.
        where: the slice's place in the configuration, for the message.
        fixed: arguments that do not come from the configuration.

    Raises:
        InputError: an unknown or a missing key, with the allowed names.
    """
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    allowed = [n for n, p in parameters.items() if n not in fixed and n != "self" and p.kind is not p.VAR_KEYWORD]
    required = [n for n in allowed if parameters[n].default is inspect.Parameter.empty
                and parameters[n].kind is not inspect.Parameter.VAR_POSITIONAL]
    problems = [] if open_ended else [
        f"{where}: unknown setting '{key}'; allowed: {', '.join(allowed) or 'none'}"
        for key in settings if key not in allowed
    ]
    problems += [f"{where}: setting '{key}' is missing" for key in required if key not in settings]
    if problems:
        raise InputError(problems)
    return function(**fixed, **settings)
