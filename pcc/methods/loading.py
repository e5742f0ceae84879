"""Build a method by name, or load a trained one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcc.artifacts.networks import WEIGHTS, read_description, rebuilt, without_weights
from pcc.methods.base import Method
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.plugins import load_class


def load_method(type: str, classes: Sequence[str], clusters: Sequence[Sequence[int]], model: dict[str, Any]) -> Method:
    """Build the method of module ``pcc.methods.{type}``.

    Args:
        type: module name.
        classes: names of the K foreground classes.
        clusters: vector indices of each cluster's members; may be empty.
        model: settings of the method's constructor.

    Raises:
        InputError: unknown method, invalid settings, or clusters for a method that does not use them.
    """
    method = load_class("pcc.methods", type, Method, "methods: type")  # type: ignore[type-abstract]
    if clusters and not method.uses_clusters:
        raise InputError(f"clusters: no effect on {type}; use `clusters: none`")
    return call_with(method, model, "model", classes=classes, clusters=clusters)


def load_classifier(folder: Path) -> Method:
    """Load a trained method from ``folder``, in evaluation mode."""
    made = read_description(folder, "type", "classes", "clusters", "model")
    model = without_weights(made["model"])
    return rebuilt(lambda: load_method(made["type"], made["classes"], made["clusters"], model), folder / WEIGHTS)
