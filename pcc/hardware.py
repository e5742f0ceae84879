"""What this machine computes fastest."""

from typing import Literal

import torch

Precision = Literal["no", "bf16", "fp16", "auto"]


def device() -> str:
    """``cuda`` where there is one (``CUDA_VISIBLE_DEVICES`` chooses which), else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision: Precision) -> Literal["no", "bf16", "fp16"]:
    """``auto`` means bf16 where the hardware multiplies it natively (emulated it would be slower), else fp32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "no"


def autocast(precision: Precision) -> torch.autocast:
    """The context that computes in ``precision`` on `device`."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolve_precision(precision))
    return torch.autocast(device(), kind, enabled=kind is not None)
