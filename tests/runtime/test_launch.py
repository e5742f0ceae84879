"""Processes that are told apart by what the environment says, through a stand-in for the command line."""

import subprocess
import sys
from typing import Any

import pytest

from pcc.runtime import launch
from pcc.runtime.errors import InputError

REAL = subprocess.Popen


def run(monkeypatch: pytest.MonkeyPatch, program: str) -> int:
    """Two processes of ``program``, which knows its RANK."""

    def popen(_command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return REAL(
            [sys.executable, "-c", f"import os, sys, time; rank = int(os.environ['RANK']); {program}"],
            **options,
        )

    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    return launch.launch(["train"], 2)


def test_all_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "assert os.environ['WORLD_SIZE'] == '2'") == 0


def test_what_another_says_is_shown_where_it_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first process would wait for ever; it is stopped, and the other's words are seen."""
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    assert run(monkeypatch, "rank and sys.exit('out of memory'); time.sleep(600)") == 1
    assert "out of memory" in capsys.readouterr().err


def test_what_all_say_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same mistake found by both, by the first a moment later."""
    busy = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    assert run(monkeypatch, f"{busy}; time.sleep(1 - rank); sys.exit('uneven')") == 1
    assert capfd.readouterr().err.count("uneven") == 1


def test_a_killed_process_has_a_shells_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "rank or os.kill(os.getpid(), 9); time.sleep(600)") == 128 + 9


def test_the_number_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launch.VARIABLE, "many")
    with pytest.raises(InputError, match="PCC_PROCESSES is 'many'"):
        launch.wanted_processes()
