"""Work in other processes: in order, and ended in one line however one of them ends."""

import faulthandler
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from pcc.runtime.errors import InputError, ProcessLost, out_of_memory
from pcc.runtime.parallel import map_in_processes, work_ahead

LIMIT = 120  # seconds, so that a hang fails


@pytest.fixture(autouse=True)
def _limited() -> Iterator[None]:
    def hang(*_: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not multiprocessing.active_children(), "no process is left"


def square(item: int) -> int:
    return item * item


def end(how: str, at: int, item: int) -> Any:
    """Something goes wrong with item ``at``."""
    if item != at:
        return torch.full((40_000,), item)
    if how == "exit":
        os._exit(3)
    if how.isdecimal():
        faulthandler.disable()
        os.kill(os.getpid(), int(how))
    if how == "memory":
        raise MemoryError
    if how == "input":
        raise InputError(["a.jpg: damaged; replace it", "b.jpg: damaged; replace it"])
    return threading.Lock()  # cannot be sent


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_order_and_items_are_taken_lazily(processes: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(40):
            taken.append(item)
            yield item

    results = map_in_processes(square, items(), processes)
    assert next(results) == 0 and len(taken) <= 4 * processes + 1
    assert list(results) == [item * item for item in range(1, 40)]


@pytest.mark.parametrize("at", [0, 7, 19])
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("9", r"a loader was killed \(signal 9\), often for lack of memory; lower --threads"),
        ("15", r"a loader was killed \(signal 15\); rerun to resume"),
        ("7", r"a loader was killed \(signal 7\): too little shared memory; enlarge /dev/shm"),
        ("1", r"a loader was killed \(signal 1\); rerun to resume"),
        ("exit", r"a loader ended unexpectedly \(exit code 3\); rerun to resume"),
    ],
)
def test_a_process_that_is_gone_is_one_line(how: str, line: str, at: int) -> None:
    with pytest.raises(ProcessLost, match=f"^{line}") as caught:
        list(work_ahead(partial(end, how, at), range(20), 2, name="a loader"))
    assert "\n" not in str(caught.value)


def test_a_process_killed_in_the_middle_of_an_answer_is_one_line() -> None:
    """Sixteen times what a pipe holds: the answer is cut anywhere."""
    with pytest.raises(ProcessLost):
        list(work_ahead(_cut, range(3), 2))


def _cut(item: int) -> bytes:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(2**26)


def test_one_that_dies_is_noticed_while_another_works_on() -> None:
    """The first item is never done."""
    with pytest.raises(ProcessLost):
        list(work_ahead(_forever_or_dead, range(2), 2))


def _forever_or_dead(item: int) -> None:
    if item:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


@pytest.mark.parametrize(("how", "kind"), [("memory", MemoryError), ("input", InputError), ("lock", TypeError)])
def test_an_error_is_raised_here_as_it_was_there(how: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        list(work_ahead(partial(end, how, 3), range(20), 2))
    assert "In a worker process:\nTraceback" in "".join(caught.value.__notes__)
    if isinstance(caught.value, InputError):
        assert caught.value.problems == ["a.jpg: damaged; replace it", "b.jpg: damaged; replace it"]


class Picky(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def _picky(_: int) -> None:
    raise Picky("it", " failed")


def test_an_error_that_cannot_be_sent_is_told_by_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="it failed"):
        list(work_ahead(_picky, range(3), 2))


def test_an_iterator_that_is_left_leaves_no_process() -> None:
    for _ in (results := work_ahead(square, range(1000), 2)):
        break
    assert len(multiprocessing.active_children()) == 2
    results.close()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left"), "/dev/shm"),
        (RuntimeError("unable to write to file </torch_1_2_0>: No space left on device (28)"), "/dev/shm"),
        (RuntimeError("shapes do not match"), None),
        (ValueError("can't allocate memory"), None),
    ],
)
def test_too_little_memory_is_one_line(error: Exception, line: str | None) -> None:
    found = out_of_memory(error)
    assert found is None if line is None else line in (found or "")


PARENT = """
import json, os, sys, threading
from pcc.runtime.interruption import noticing_sigterm
from pcc.runtime.parallel import work_ahead

def work(item):
    return os.getpid() if item < 2 else {rest}

with noticing_sigterm():
    results = work_ahead(work, range(100), 2)
    print(json.dumps([next(results), next(results)]), flush=True)
    sys.stdin.readline()
    print(sum(results))
"""
FOR_EVER = "threading.Event().wait()"


@pytest.fixture
def parent() -> Iterator[Callable[[str], tuple["subprocess.Popen[str]", list[int]]]]:
    """Start a process and its two workers, which have ids."""
    started: list[subprocess.Popen[str]] = []

    def start(rest: str) -> tuple["subprocess.Popen[str]", list[int]]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", PARENT.format(rest=rest)], text=True, **pipes)
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("rest", [FOR_EVER, "item", "bytes(2**24)"])
def test_processes_end_with_a_parent_that_is_killed(parent: Any, rest: str) -> None:
    """They hold its standard output, which ends with the last of them."""
    process, _ = parent(rest)
    process.kill()
    assert process.communicate(timeout=LIMIT) == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_the_whole_job_are_the_parents(parent: Any, number: int) -> None:
    """As when a terminal or a cluster signals every process: the workers go on, here with most of the items."""
    process, workers = parent("item")
    for pid in workers:
        os.kill(pid, number)
    assert process.communicate("go on\n", timeout=LIMIT) == (f"{sum(range(2, 100))}\n", "")


def test_one_that_alone_is_asked_to_end_is_one_line(parent: Any) -> None:
    process, workers = parent(FOR_EVER)
    os.kill(workers[0], signal.SIGTERM)
    error = process.communicate("go on\n", timeout=LIMIT)[1]
    assert process.returncode == 1 and error.endswith("a worker process was killed (signal 15); rerun to resume\n")
