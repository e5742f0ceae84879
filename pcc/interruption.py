"""A polite end: a preemption or a time limit is noted, and the work stops where it can be taken up again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Interruption:
    """Whether this process was asked to stop."""

    requested = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.requested = True


def left_to_parent(_worker: int) -> None:
    """For a loader process: clusters signal every process of a job, and one that died of it would fail the step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def noticing_sigterm() -> Iterator[Interruption]:
    """SIGTERM, which clusters send some time before they kill, does no more than to be noted inside the block."""
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, noted.note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)
