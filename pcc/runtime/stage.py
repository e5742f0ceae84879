"""What every stage has beside its arguments: CPU threads, the fingerprint of its code, an output of its own."""

import inspect
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, TypeVar

from pcc.runtime.ownership import Kind, claimed

T = TypeVar("T")


class Call(NamedTuple):
    """The running call of a stage.

    Attributes:
        stage: its name; empty outside any stage.
        code: fingerprint of the stage's code; empty outside the workflow.
        started: ``time.monotonic()`` at its start.
    """

    stage: str
    code: str
    started: float


_CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The call that is running; outside any stage, one that starts now."""
    return _CURRENT.get() or Call("", "", time.monotonic())


def stage(writes: Kind) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a function a stage: it can be called with ``threads`` and ``code``, and writes over nobody else's files.

    ``threads`` reaches a function that has a parameter of that name. ``code`` reaches `current_call`.

    Args:
        writes: what its argument ``output`` is, see `claimed`.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        signature = inspect.signature(function)
        name = getattr(function, "__name__", "")

        @wraps(function)
        def call(*args: Any, threads: int = 1, code: str = "", **settings: Any) -> T:
            if "threads" in signature.parameters:
                settings["threads"] = threads
            token = _CURRENT.set(Call(name, code, time.monotonic()))
            try:
                with ExitStack() as stack:
                    if os.environ.get("RANK", "0") == "0":  # in a launched training, the first process writes
                        output = signature.bind(*args, **settings).arguments["output"]
                        stack.enter_context(claimed(output, name, writes))
                    return function(*args, **settings)
            finally:
                _CURRENT.reset(token)

        return call

    return decorate
