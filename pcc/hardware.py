"""What this machine computes fastest."""

import ctypes
from functools import cache
from typing import Literal

import torch

from pcc.progress import log

# Options of glibc's mallopt and their values: map no block by itself, trim never, grow by 64 MiB at a time.
MALLOC = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 64 << 20)}
Precision = Literal["no", "bf16", "fp16", "auto"]


def device() -> str:
    """``cuda`` where there is one (``CUDA_VISIBLE_DEVICES`` chooses which), else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def resolve_precision(precision: Precision) -> Literal["no", "bf16", "fp16"]:
    """``auto`` means bf16 where the hardware multiplies it, else fp32.

    A CPU that does not is spared ``bf16`` too, and told so: emulated, it takes twenty times as long as fp32, and torch
    has no LSTM for it.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        if precision == "bf16" and not native:
            log.info("precision bf16: this CPU does not multiply it; computing in fp32, which is faster here")
            return "no"
    return precision if precision != "auto" else "bf16" if native else "no"


@cache
def keep_freed_memory() -> None:
    """Let this process keep what it frees for the next tensor of the kind; for good, and under glibc only.

    glibc hands large blocks back to the system, which zeroes them before it gives them out again: up to half the time
    of a training step on a CPU. Steps are all alike, so that keeping them costs hardly any memory.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in MALLOC.values():
            libc.mallopt(option, value)


def autocast(precision: Precision) -> torch.autocast:
    """The context that computes in ``precision`` on `device`."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolve_precision(precision))
    return torch.autocast(device(), kind, enabled=kind is not None)
