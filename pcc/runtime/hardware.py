"""Device and precision of this machine."""

import ctypes
import platform
from functools import cache
from typing import Literal

import torch

from pcc.runtime.progress import log

Precision = Literal["no", "bf16", "fp16", "auto"]
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def device() -> str:
    """``cuda`` where there is one (``CUDA_VISIBLE_DEVICES`` chooses which), else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def resolve_precision(precision: Precision) -> Literal["no", "bf16", "fp16"]:
    """``auto`` means bf16 where the hardware multiplies it, else fp32.

    On a CPU without it, ``bf16`` falls back to fp32 with a log line: emulated, it takes twenty times as long, and torch
    has no LSTM for it.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        if precision == "bf16" and not native:
            log.info("precision bf16: not supported by this CPU; using fp32, which is faster here")
            return "no"
    return precision if precision != "auto" else "bf16" if native else "no"


def autocast(precision: Precision) -> torch.autocast:
    """The context that computes in ``precision`` on `device`."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolve_precision(precision))
    return torch.autocast(device(), kind, enabled=kind is not None)


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees, for its next request; elsewhere nothing happens.

    By default it hands back every block above 32 MB as soon as it is freed, so that each layer of a network on a large
    image waits for the system to give it new, zeroed pages: up to half of the time on a CPU. What the process holds
    stays at the highest it was until it ends.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
