"""A trained network: weights.safetensors, and model.json to rebuild it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file
from torch import Tensor, nn

from pcc.artifacts.tensors import write_tensors
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
N = TypeVar("N", bound=nn.Module)


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors."""
    write_tensors(path, weights)


def read_description(folder: Path) -> dict[str, Any]:
    """Read model.json of a trained network.

    Raises:
        InputError: no trained network in ``folder``.
    """
    if not (folder / DESCRIPTION).is_file():
        raise InputError(f"{folder}: no trained network here ({DESCRIPTION} is missing); run its training stage")
    return read_json(folder / DESCRIPTION)


def without_weights(settings: Any) -> Any:
    """Settings with every ``weights`` set to ``random``, as the stored weights replace them."""
    if isinstance(settings, Mapping):
        return {k: "random" if k == "weights" else without_weights(v) for k, v in settings.items()}
    return settings


def with_weights(network: N, folder: Path) -> N:
    """Load the weights of ``folder`` into ``network``, in evaluation mode."""
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network.eval().requires_grad_(False)
