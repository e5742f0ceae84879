"""A training spread over several processes of this machine, one per GPU."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

from pcc.runtime.errors import InputError
from pcc.runtime.interruption import EXIT_CODE

VARIABLE = "PCC_PROCESSES"
STOPPED = (-signal.SIGTERM, EXIT_CODE)
PATIENCE = 10.0  # seconds that the first process has to find what another has found
GRACE = 60.0  # seconds that a process has for a last checkpoint


def wanted_processes() -> int:
    """One per visible GPU, unless the environment variable sets another number; 1 within a launched process.

    Raises:
        InputError: the environment variable is not a number.
    """
    if "WORLD_SIZE" in os.environ:
        return 1
    import torch

    asked = os.environ.get(VARIABLE)
    if asked and not asked.isdecimal():
        raise InputError(f"{VARIABLE} is {asked!r}; give a number of processes, or leave it unset")
    return int(asked or max(1, torch.cuda.device_count()))


def launch(words: Sequence[str], processes: int) -> int:
    """Run ``pcc WORDS`` in every process, and return the exit code of the first to fail, or 0.

    Accelerate and torch read the other processes from the environment. Rank 0's stderr is shown; another rank's only if
    that rank alone failed. When one fails, the others are stopped. SIGTERM is passed on to all.

    Args:
        words: command line after ``pcc``.
        processes: at least 2.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as stderr_file:
        for rank in range(processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(processes)}
            command = [sys.executable, "-m", "pcc", *words]
            stderr = stderr_file if rank else None
            running.append(subprocess.Popen(command, env=os.environ | shared | own, stderr=stderr))
        before = signal.signal(signal.SIGTERM, lambda *_: _stop(running))
        try:
            failed = _first_to_fail(running)
            if failed:  # the first may be about to say the same, and is not to be stopped halfway
                with suppress(subprocess.TimeoutExpired):
                    running[0].wait(PATIENCE)
            code = 0 if failed is None else running[failed].returncode
        finally:
            signal.signal(signal.SIGTERM, before)
            _stop(running)
            _see_out(running)
        if failed and running[0].returncode in STOPPED:  # else the first has spoken for itself
            stderr_file.seek(0)
            sys.stderr.write(stderr_file.read().decode(errors="replace"))
    return code if code >= 0 else 128 - code


def _first_to_fail(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Number of the process that ended badly first (the lowest, of several at once); None once all ended well."""
    while True:
        codes = [process.poll() for process in running]
        if any(codes):
            return next(rank for rank, code in enumerate(codes) if code)
        if None not in codes:
            return None
        time.sleep(0.2)


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in running:
        if process.poll() is None:
            process.terminate()


def _see_out(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """A process that waits for one that is gone would wait for ever."""
    deadline = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
