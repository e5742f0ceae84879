"""What every stage is called with besides its own arguments: CPU threads, and the fingerprint of its code."""

import inspect
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Call(NamedTuple):
    """The running call of a stage.

    Attributes:
        code: fingerprint of the stage's code; empty outside the workflow.
        started: ``time.monotonic()`` at its start.
    """

    code: str
    started: float


_CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The call that is running; outside any stage, one that starts now."""
    return _CURRENT.get() or Call("", time.monotonic())


def stage(function: Callable[..., T]) -> Callable[..., T]:
    """Let ``function`` be called with ``threads`` and ``code``, whether it has a use for them or not.

    ``threads`` reaches a function that has a parameter of that name. ``code`` reaches `current_call`.
    """
    takes_threads = "threads" in inspect.signature(function).parameters

    @wraps(function)
    def call(*args: Any, threads: int = 1, code: str = "", **settings: Any) -> T:
        token = _CURRENT.set(Call(code, time.monotonic()))
        try:
            return function(*args, **settings, **({"threads": threads} if takes_threads else {}))
        finally:
            _CURRENT.reset(token)

    return call
