"""Precisions on machines that are not this one."""

import inspect
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import torch

from pcc.runtime.hardware import Precision, keep_freed_memory, resolve_precision


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    resolve_precision.cache_clear()
    yield
    resolve_precision.cache_clear()


@pytest.mark.parametrize(
    ("gpu", "native", "asked", "found"),
    [
        (False, True, "auto", "bf16"),
        (False, False, "auto", "no"),
        (False, True, "bf16", "bf16"),
        (False, False, "bf16", "no"),
        (False, False, "no", "no"),
        (True, True, "auto", "bf16"),
        (True, False, "auto", "no"),
        (True, False, "bf16", "bf16"),
        (True, False, "fp16", "fp16"),
    ],
)
def test_precision(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, native: bool, asked: Precision, found: Literal["no", "bf16", "fp16"]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert resolve_precision(asked) == found


def test_a_cpu_says_once_that_it_takes_fp32(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with caplog.at_level("INFO", logger="pcc"):
        resolve_precision("bf16")
        resolve_precision("bf16")
    assert [record.getMessage() for record in caplog.records].count(
        "precision bf16: not supported by this CPU; using fp32, which is faster here"
    ) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_request() -> None:
    """In a process of its own, as nothing takes it back: blocks of 64 MB soon cost no new pages."""
    words = [sys.executable, "-c", inspect.getsource(_faults) + "\nprint(_faults(), _faults(keep=True))"]
    usual, kept = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert kept < usual / 10


def _faults(keep: bool = False) -> int:
    """Pages that the system has to give for ten blocks, after as many others were made and freed."""
    import resource

    import torch

    from pcc.runtime.hardware import keep_freed_memory

    if keep:
        keep_freed_memory()
    before = 0
    for number in range(40):
        if number == 30:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcc.runtime.hardware.platform.libc_ver", lambda: ("", ""))
    monkeypatch.setattr("pcc.runtime.hardware.ctypes.CDLL", None)
    keep_freed_memory()
