"""What this machine computes fastest."""

from functools import cache
from typing import Literal

import torch

from pcc.progress import log

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


def autocast(precision: Precision) -> torch.autocast:
    """The context that computes in ``precision`` on `device`."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolve_precision(precision))
    return torch.autocast(device(), kind, enabled=kind is not None)
