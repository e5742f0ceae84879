"""Graceful shutdown: on SIGTERM, finish the step, save a checkpoint, exit with 143. No process outlives its parent."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
GRACE = 10


class Interruption:
    """Whether this process has received SIGTERM."""

    requested = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.requested = True


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


def die_with(parent: int) -> None:
    """End this process soon after its parent ``parent``, which cannot stop it once it is killed itself.

    Where SIGTERM is blocked, the parent answers it. If it has not ended `GRACE` seconds later, it was not asked itself.
    """

    def watch() -> None:
        asked = 0
        while os.getppid() == parent and asked < GRACE:
            time.sleep(1)
            asked += signal.SIGTERM in signal.sigpending()
        os._exit(EXIT_CODE)

    threading.Thread(target=watch, daemon=True).start()
