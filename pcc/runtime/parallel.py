"""Several processes: work on items in order, and means over the processes of a training."""

import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, ThreadPoolExecutor, wait
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from torch import distributed as dist

from pcc.runtime.errors import ProcessLost
from pcc.runtime.interruption import die_with

A = TypeVar("A")
R = TypeVar("R")
AHEAD = 4
PATIENCE = 10.0  # seconds until a process whose pipe has ended is gone


def map_in_processes(function: Callable[[A], R], items: Iterable[A], processes: int) -> Iterator[R]:
    """Yield ``function(item)`` in order; at most ``AHEAD`` items per process wait.

    Args:
        function: picklable, on one thread each; an exception is raised here.
        items: consumed lazily.
        processes: 1 runs in this process.

    Raises:
        ProcessLost: a process was killed.
    """
    # A forked child must not inherit an OpenMP pool, or its first parallel operation hangs.
    torch.set_num_threads(1)
    if processes <= 1:
        yield from map(function, items)
        return
    yield from work_ahead(function, items, processes)


def work_ahead(
    function: Callable[[A], R],
    items: Iterable[A],
    processes: int,
    *,
    ahead: int = AHEAD,
    name: str = "a worker process",
    niceness: int = 0,
) -> Generator[R, None, None]:
    """Yield ``function(item)`` in order, computed by other processes; none of them outlives the iterator.

    Args:
        function: see `map_in_processes`.
        items: consumed lazily, at most ``ahead`` per process in advance.
        processes: at least 1.
        ahead: items per process.
        name: what a process is called in the message, should it be killed.
        niceness: added to the processes' own.

    Raises:
        ProcessLost: a process was killed.
    """
    rest = iter(items)
    with ThreadPoolExecutor(processes) as threads, _Workers(function, processes, name, niceness) as workers:
        waiting = deque(threads.submit(workers.call, item) for item in itertools.islice(rest, ahead * processes))
        while waiting:
            either: list[Future[Any]] = [waiting[0], workers.lost]
            wait(either, return_when=FIRST_COMPLETED)
            if workers.lost.done():
                workers.lost.result()
            yield waiting.popleft().result()
            waiting.extend(threads.submit(workers.call, item) for item in itertools.islice(rest, 1))


class _Workers(Generic[A, R]):
    """Processes that apply a function to one item at a time, each over a pipe of its own.

    Unlike those of concurrent.futures and torch, they share no lock and no queue. So one that is killed, at any moment,
    blocks nobody: its pipe ends. They are ended by SIGKILL, which nothing can hold up.

    Attributes:
        lost: has the error as soon as a process is killed.
    """

    def __init__(self, function: Callable[[A], R], count: int, name: str, niceness: int) -> None:
        self.name, self.count, self.given = name, count, (function, os.getpid(), niceness)
        self.lost: Future[None] = Future()
        self.all: list[tuple[BaseProcess, Connection]] = []
        self.idle: queue.SimpleQueue[tuple[BaseProcess, Connection]] = queue.SimpleQueue()
        self.ended = False

    def __enter__(self) -> "_Workers[A, R]":
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        # Terminals and clusters signal every process of a job; these leave the answer to this one. What is blocked as
        # they start stays blocked in them.
        answered = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *[signal.SIGTERM] * answered])
        try:
            for _ in range(self.count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, *self.given), daemon=True)
                process.start()
                theirs.close()  # the process has the only other end
                self.all.append((process, ours))
                self.idle.put((process, ours))
        except BaseException:
            self.end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Kill the processes; they hold nothing worth keeping. Calls that are under way fail."""
        self.ended = True
        for process, _ in self.all:
            process.kill()
        for process, _ in self.all:
            process.join()

    def call(self, item: A) -> R:
        """``function(item)``, by the next process that is idle; called in as many threads as there are processes."""
        process, connection = self.idle.get()
        try:
            connection.send(item)
            good, answer = connection.recv()
        except (EOFError, OSError):
            if not self.ended:
                process.join(PATIENCE)
                if process.exitcode is not None:
                    with suppress(InvalidStateError):  # the first is the cause
                        self.lost.set_exception(ProcessLost.of(self.name, process.exitcode))
            raise
        finally:
            self.idle.put((process, connection))
        if not good:
            raise answer
        return answer


def _work(connection: Connection, function: Callable[[Any], Any], parent: int, niceness: int) -> None:
    """Answer items with ``(True, function(item))`` or ``(False, error)``."""
    die_with(parent)
    os.nice(niceness)
    torch.set_num_threads(1)
    sys.excepthook = lambda *_: None  # of the thread that shares tensors, should the parent be killed meanwhile
    with suppress(EOFError, ConnectionError):  # the parent has ended
        while True:
            item = connection.recv()
            try:
                connection.send((True, function(item)))  # nothing is sent of what cannot be pickled
            except Exception as error:
                connection.send((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; another where pickling would change it."""
    error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        same = type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - it is our own
    except Exception:
        same = False
    return error if same else RuntimeError("".join(traceback.format_exception(error)))


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
