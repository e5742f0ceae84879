"""Whole processes that take turns: while one goes on, the others and the processes they started are stopped.

A machine's speed changes by more from one minute to the next than what is measured here; from one second to the next it
seldom does.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from pcc.runtime.hardware import device


class Turns:
    """A process's end of the line: begins a turn when told, and tells the seconds it took when it is over."""

    def __init__(self, line: Connection) -> None:
        self.line, self.start = line, 0.0

    def next(self) -> None:
        """End this turn, if there is one, and wait for the next."""
        if self.start:
            self.over()
        self.line.recv()
        self.start = time.perf_counter()

    def over(self) -> None:
        """The last turn's end."""
        if device() == "cuda":
            torch.cuda.synchronize()
        self.line.send(time.perf_counter() - self.start)


def take_turns(
    side: Callable[[str, Turns], Any], names: Sequence[str], turns: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Run ``side(name, turns)`` once for each name, in a process of its own.

    Args:
        side: a module's function; calls ``next`` once for each turn and then ``over``.
        names: of the sides.
        turns: of each side.

    Returns:
        Each side's seconds, turn by turn, and what it returned.
    """
    context = multiprocessing.get_context("spawn")
    lines, processes = {}, {}
    for name in names:
        lines[name], far = context.Pipe()
        processes[name] = context.Process(target=_run, args=(side, name, far))
        processes[name].start()
        far.close()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    groups = {name: process.pid or 0 for name, process in processes.items()}
    try:
        for name in names:
            lines[name].recv()
            os.killpg(groups[name], signal.SIGSTOP)
        for turn in range(turns):
            # The order changes, as one that comes second on a machine that slows down would pay for it every time.
            for name in names[:: 1 if turn % 2 else -1]:
                os.killpg(groups[name], signal.SIGCONT)
                lines[name].send("go")
                seconds[name].append(lines[name].recv())
                os.killpg(groups[name], signal.SIGSTOP)
        found = {}
        for name in names:
            os.killpg(groups[name], signal.SIGCONT)
            found[name] = lines[name].recv()
            processes[name].join()
    finally:
        for name, process in processes.items():
            if process.is_alive():
                os.killpg(groups[name], signal.SIGKILL)
    return seconds, found


def _run(side: Callable[[str, Turns], Any], name: str, line: Connection) -> None:
    os.setpgid(0, 0)
    # Loaders start as they do in `pcc`, not as this process did.
    multiprocessing.set_start_method(None, force=True)
    line.send("ready")
    line.send(side(name, Turns(line)))
