"""One piece of work per image over several processes: order kept, few items in memory."""

import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
R = TypeVar("R")
AHEAD = 4


def map_in_processes(function: Callable[[A], R], items: Iterable[A], processes: int) -> Iterator[R]:
    """Yield ``function(item)`` in order; at most ``AHEAD`` items per process wait.

    Args:
        function: picklable, on one thread each; an exception is raised here.
        items: consumed lazily.
        processes: 1 runs in this process.
    """
    # A forked child must not inherit an OpenMP pool, or its first parallel operation hangs.
    torch.set_num_threads(1)
    if processes <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    rest = iter(items)
    with ProcessPoolExecutor(processes, context, _die_with_parent, (os.getpid(),)) as pool:
        waiting = deque(pool.submit(function, item) for item in itertools.islice(rest, AHEAD * processes))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))


def _die_with_parent(parent: int) -> None:
    """A killed parent cannot tell its workers to stop, and they would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
