"""Processes that are told apart by what the environment says, through a stand-in for the command line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcc.runtime import launch
from pcc.runtime.errors import InputError, ProcessLost

REAL = subprocess.Popen
STAYS = "import signal; signal.pause()"


class Patient(REAL):  # type: ignore[type-arg]
    """A process whose standard input ends when it is waited for."""

    def wait(self, timeout: float | None = None) -> int:
        assert self.stdin is not None
        self.stdin.close()
        return super().wait(timeout)


def run(monkeypatch: pytest.MonkeyPatch, program: str) -> int:
    """Two processes of ``program``, which knows its RANK."""

    def popen(_command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        program_of_rank = f"import os, sys; rank = int(os.environ['RANK']); {program}"
        return Patient([sys.executable, "-c", program_of_rank], stdin=subprocess.PIPE, **options)

    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    return launch.launch(["train"], 2)


def test_all_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "assert os.environ['WORLD_SIZE'] == '2'") == 0


def test_what_another_says_is_shown_where_it_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first process would wait for ever; it is stopped, and the other's words are seen."""
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    assert run(monkeypatch, f"rank and sys.exit('out of memory'); {STAYS}") == 1
    assert "out of memory" in capsys.readouterr().err


def test_what_all_say_is_shown_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The same mistake found by both, by the first only when the other is seen to have ended."""
    monkeypatch.setattr(launch, "PATIENCE", 120.0)
    assert run(monkeypatch, "rank or sys.stdin.read(); sys.exit(f'uneven, says {rank}')") == 1
    said = capfd.readouterr().err
    assert "says 0" in said and "says 1" not in said


@pytest.mark.parametrize(("rank", "number"), [(0, 9), (1, 9), (1, 7), (0, 15)])
def test_a_killed_process_ends_the_others_in_one_line(monkeypatch: pytest.MonkeyPatch, rank: int, number: int) -> None:
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    with pytest.raises(ProcessLost, match=rf"^the training process of rank {rank} was killed \(signal {number}\)"):
        run(monkeypatch, f"rank == {rank} and os.kill(os.getpid(), {number}); {STAYS}")


def test_a_process_that_ignores_being_stopped_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    monkeypatch.setattr(launch, "GRACE", 0.5)
    assert run(monkeypatch, f"import signal; signal.signal(15, signal.SIG_IGN); rank and sys.exit(3); {STAYS}") == 3


def test_a_process_that_lost_another_is_not_the_first_to_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Rank 0 ends before the one that it lost, which says why."""
    os.mkfifo(pipe := tmp_path / "pipe")
    ended = f"rank or (open({str(pipe)!r}, 'w'), os._exit({launch.PEER_LOST})); open({str(pipe)!r}).read()"
    assert run(monkeypatch, f"{ended}; sys.exit('why')") == 1
    assert capsys.readouterr().err == "why\n"


def test_processes_that_lost_each_other_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProcessLost, match="lost their connection; rerun to resume"):
        run(monkeypatch, f"os._exit({launch.PEER_LOST})")


def test_the_number_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launch.VARIABLE, "many")
    with pytest.raises(InputError, match="PCC_PROCESSES is 'many'"):
        launch.wanted_processes()
