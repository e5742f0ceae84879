"""Weakly supervised methods, one module each; `pcc.methods.base` is what they have in common."""

from collections.abc import Sequence
from typing import Any

from pcc.methods.base import Method
from pcc.runtime.errors import call_with
from pcc.runtime.plugins import load_class


def load_method(
    type: str, classes: Sequence[str], clusters: Sequence[Sequence[int]], model: dict[str, Any]
) -> Method:
    """The method of module ``pcc.methods.{type}``, its settings checked by name.

    Args:
        type: module name.
        classes: names of the K foreground classes.
        clusters: vector indices of each cluster's members; empty for none.
        model: settings of the method's constructor.

    Raises:
        InputError: no such method, or settings that do not fit.
    """
    method = load_class("pcc.methods", type, Method, "methods: type")  # type: ignore[type-abstract]
    return call_with(method, model, "model", classes=classes, clusters=clusters)
