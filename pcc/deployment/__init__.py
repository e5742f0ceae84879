"""A trained network taken out of the results: `Predictor`, `Localizer`, exported folders, ONNX, model cards."""

from importlib import import_module
from typing import Any

_HOMES = {"Predictor": "predictor", "Localizer": "localizer"}


def __getattr__(name: str) -> Any:
    """`Predictor` and `Localizer`, imported when asked for: stages that use one do not depend on the other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
