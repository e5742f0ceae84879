"""A training spread over several processes of this machine, one per GPU."""

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from pcc.runtime.errors import InputError, ProcessLost
from pcc.runtime.interruption import EXIT_CODE, Interruption, die_with

VARIABLE = "PCC_PROCESSES"
LAUNCHER = "PCC_LAUNCHER"  # set within launched processes: the process that started them
PEER_LOST = 70  # exit code of a process that cannot go on without one that has ended
QUIET = (-signal.SIGTERM, -signal.SIGKILL, EXIT_CODE, PEER_LOST)  # of processes that have printed nothing
PATIENCE = 5.0  # seconds that a process has to find what another has found
GRACE = 15.0  # seconds to end, once asked to; checkpoints are saved before the first ends


def wanted_processes() -> int:
    """One per visible GPU, unless the environment variable sets another number; 1 within a launched process.

    A launched process ends with its launcher from then on.

    Raises:
        InputError: the environment variable is not a number.
    """
    if "WORLD_SIZE" in os.environ:
        if LAUNCHER in os.environ:
            die_with(int(os.environ[LAUNCHER]))
        return 1
    import torch

    asked = os.environ.get(VARIABLE)
    if asked and not asked.isdecimal():
        raise InputError(f"{VARIABLE} is {asked!r}; give a number of processes, or leave it unset")
    return int(asked or max(1, torch.cuda.device_count()))


def launch(words: Sequence[str], processes: int) -> int:
    """Run ``pcc WORDS`` in every process, and return the exit code of the first to fail, or 0.

    Accelerate and torch read the other processes from the environment. Rank 0's stderr is shown; another rank's only if
    that rank alone failed. When one fails, the others end within half a minute. SIGTERM is passed on to all.

    Args:
        words: command line after ``pcc``.
        processes: at least 2.

    Raises:
        ProcessLost: one was killed.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    shared[LAUNCHER] = str(os.getpid())
    asked = Interruption()
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as stderr_file:
        for rank in range(processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(processes)}
            command = [sys.executable, "-m", "pcc", *words]
            stderr = stderr_file if rank else None
            running.append(subprocess.Popen(command, env=os.environ | shared | own, stderr=stderr))

        def stop(number: int, frame: FrameType | None) -> None:
            asked.note(number, frame)
            _stop(running)

        before = signal.signal(signal.SIGTERM, stop)
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
        if failed and code > 0 and running[0].returncode in QUIET:  # else the first has spoken for itself
            stderr_file.seek(0)
            sys.stderr.write(stderr_file.read().decode(errors="replace"))
    if code < 0 and not asked.requested:
        raise ProcessLost.of(f"the training process of rank {failed}", code)
    if code == PEER_LOST:
        raise ProcessLost("the processes of this training lost their connection; rerun to resume")
    return code if code >= 0 else 128 - code


def is_peer_lost(error: Exception) -> bool:
    """Whether this process was launched, and the error is the loss of its connection to another."""
    distributed = sys.modules.get("torch.distributed")
    if LAUNCHER not in os.environ or distributed is None:
        return False
    # Gloo, which CPUs use, has no class of its own.
    return isinstance(error, distributed.DistError) or "gloo" in str(error) or "Connection" in str(error)


def leave(code: int) -> None:
    """End a launched process at once; nothing in any other. At exit it would wait for others that may be gone."""
    if LAUNCHER in os.environ:
        sys.stderr.flush()
        os._exit(code)


def _first_to_fail(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Number of the process that ended badly first (the lowest, of several at once); None once all ended well.

    One that lost another is first only if the other does not end.
    """
    deadline = math.inf
    while True:
        codes = [process.poll() for process in running]
        bad = sorted((code == PEER_LOST, rank) for rank, code in enumerate(codes) if code)
        if bad:
            only_lost_another, rank = bad[0]
            deadline = min(deadline, time.monotonic() + PATIENCE)
            if not only_lost_another or None not in codes or time.monotonic() >= deadline:
                return rank
        elif None not in codes:
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
