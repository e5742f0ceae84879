"""Several processes: work on images in order, and means over the processes of a training."""

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
from torch import distributed as dist

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


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of what every process of a training has; ``values`` itself where there is one.

    Gradients are averaged over processes. A mean over rows of which each process has another number is therefore the
    whole batch's when each divides its sum by the mean count.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def _die_with_parent(parent: int) -> None:
    """A killed parent cannot stop its workers, which would wait for work forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
