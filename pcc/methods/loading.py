"""A method by its name, fresh or trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcc.artifacts.networks import read_description, with_weights, without_weights
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


def load_classifier(folder: Path) -> Method:
    """The trained method of ``folder``, in evaluation mode."""
    made = read_description(folder)
    method = load_method(made["type"], made["classes"], made["clusters"], without_weights(made["model"]))
    return with_weights(method, folder)
