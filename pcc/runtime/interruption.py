"""Graceful shutdown: on SIGTERM, finish the step, save a checkpoint, exit with 143."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

EXIT_CODE = 128 + signal.SIGTERM


class Interruption:
    """Whether this process has received SIGTERM."""

    requested = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.requested = True


def begun_undisturbed(items: Iterable[T]) -> Iterator[T]:
    """The items; SIGTERM is blocked while the first is made, and stays blocked in processes started meanwhile.

    Clusters signal every process of a job, and a loader process that died of it would fail the step.
    """
    iterator = iter(items)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        first = list(islice(iterator, 1))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    yield from first
    yield from iterator


@contextmanager
def noticing_sigterm() -> Iterator[Interruption]:
    """Inside the block, SIGTERM is only recorded. Clusters send it some time before they kill."""
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, noted.note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)
