"""Precisions on machines that are not this one."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import torch

from pcc.hardware import Precision, resolve_precision

KEEPING = """
import resource, sys, torch
from pcc.hardware import keep_freed_memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
keep_freed_memory()
kept = min(faults() for _ in range(4))  # the system may take pages back meanwhile
sys.exit(not kept < given_back / 2)
"""


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
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    native: bool,
    asked: Precision,
    found: Literal["no", "bf16", "fp16"],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert resolve_precision(asked) == found


def test_a_cpu_says_once_that_it_takes_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with caplog.at_level("INFO", logger="pcc"):
        resolve_precision("bf16")
        resolve_precision("bf16")
    assert [record.getMessage() for record in caplog.records].count(
        "precision bf16: this CPU does not multiply it; computing in fp32, which is faster here"
    ) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's mallopt")
def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    """In a process of its own, as it holds for good: pages of 64 MB come from the system once."""
    assert subprocess.run([sys.executable, "-c", KEEPING], check=False).returncode == 0
