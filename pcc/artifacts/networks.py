"""A trained network: weights.safetensors, and model.json to rebuild it.

Both may be damaged, of another network or made by a stranger, so all that is read is checked here.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pcc.artifacts.tensors import write_tensors
from pcc.runtime.errors import InputError, reason, shortened
from pcc.runtime.files import read_object
from pcc.runtime.ranges import shown

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
TRAINED_BY = {"classifier": "train", "segmenter": "train_segmenter", "boundary": "train_boundary"}  # by folder
N = TypeVar("N", bound=nn.Module)

IS_OF_KIND: dict[str, Callable[[Any], bool]] = {
    "type": lambda value: isinstance(value, str),
    "classes": lambda value: _is_list(value, str) and len(set(value)) == len(value) > 0,
    "clusters": lambda value: isinstance(value, list) and all(_is_list(cluster, int) for cluster in value),
    "model": lambda value: isinstance(value, dict),
    "supervision": lambda value: isinstance(value, str),
}


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors."""
    write_tensors(path, weights)


def read_description(folder: Path, *needed: str) -> dict[str, Any]:
    """Read model.json of a trained network.

    Args:
        folder: of the network.
        needed: keys of `IS_OF_KIND` that must be there.

    Raises:
        InputError: no trained network in ``folder``, or a damaged description.
    """
    path, remedy = folder / DESCRIPTION, rerun(folder)
    if not path.is_file():
        raise InputError(f"{folder}: no trained network here ({DESCRIPTION} is missing); run its training stage")
    made = read_object(path, remedy)
    for key, is_of_kind in IS_OF_KIND.items():
        if key in made and not is_of_kind(made[key]):
            raise InputError(f"{path}: invalid {key} ({shown(made[key])}); {remedy}")
        if key in needed and key not in made:
            raise InputError(f"{path}: {key} is missing; {remedy}")
    return made


def without_weights(settings: Any) -> Any:
    """Settings with every ``weights`` set to ``random``, as the stored weights replace them."""
    if isinstance(settings, Mapping):
        return {k: "random" if k == "weights" else without_weights(v) for k, v in settings.items()}
    return settings


def rebuilt(build: Callable[[], N], path: Path, remedy: str | None = None) -> N:
    """Build a network and load its weights, in evaluation mode.

    Settings may be a stranger's, so ``build`` may ask for no more memory than the file's tensors explain.

    Args:
        build: makes the network with random weights.
        path: safetensors file.
        remedy: what to do if file and network do not fit; default: rerun the stage that trained the network.

    Raises:
        InputError: the file is damaged, the network cannot be built, or they do not fit.
    """
    remedy = remedy or rerun(path.parent)
    shapes = _stored_shapes(path, remedy)
    try:
        with _Budget(shapes, remedy):
            network = build()
    except InputError as error:
        more = f" ({len(error.problems) - 1} more faults)" if len(error.problems) > 1 else ""
        fault = shortened(error.problems[0].removesuffix(f"; {remedy}"))
        raise InputError(f"{path.parent}: {fault}{more}; {remedy}") from error
    except Exception as error:  # libraries answer nonsense settings with whatever comes
        raise InputError(f"{path.parent}: the network cannot be built ({reason(error)}); {remedy}") from error
    load_weights(network, read_weights(path, remedy), path, remedy)
    return network.eval().requires_grad_(False)


def read_weights(path: Path, remedy: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: the file is missing or damaged, or holds values that are not finite.
    """
    remedy = remedy or rerun(path.parent)
    with _readable(path, remedy):
        weights = load_file(path)
    for name, value in weights.items():
        if (value.is_floating_point() or value.is_complex()) and value.dtype not in FLOATS:
            raise InputError(f"{path}: tensor {shown(name)} is {value.dtype}, which no network here has; {remedy}")
        if value.dtype in FLOATS and not value.isfinite().all():
            raise InputError(f"{path}: tensor {shown(name)} holds NaN or infinite values; {remedy}")
    return weights


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path, remedy: str | None = None) -> None:
    """Load the tensors of ``path`` into a network: all of its own, no others, each in its shape.

    Floating-point types may differ; they are converted.

    Raises:
        InputError: they do not fit.
    """
    wanted = network.state_dict()
    both = [name for name in wanted if name in weights]
    faults = {
        "missing": [name for name in wanted if name not in weights],
        "unknown": [name for name in weights if name not in wanted],
        "of another shape": [name for name in both if weights[name].shape != wanted[name].shape],
        "of another type": [name for name in both if not _converts(weights[name].dtype, wanted[name].dtype)],
    }
    if found := [f"{len(names)} {fault}, first {shown(names[0])}" for fault, names in faults.items() if names]:
        raise InputError(
            f"{path}: not the weights of this {type(network).__name__}; tensors {'; '.join(found)}; "
            f"{remedy or rerun(path.parent)}"
        )
    network.load_state_dict(dict(weights))


def rerun(folder: Path) -> str:
    """What to do about a damaged folder of a trained network."""
    return f"delete {folder} and rerun {TRAINED_BY.get(folder.name, 'its training stage')}"


class _Budget(TorchDispatchMode):
    """Refuses new tensors beyond what a network of these stored tensors needs, before memory is asked for."""

    def __init__(self, shapes: list[torch.Size], remedy: str) -> None:
        super().__init__()
        self.remedy = remedy
        self.elements = 4 * sum(shape.numel() for shape in shapes) + 2**26  # tables and trial images besides
        self.tensors = 4 * len(shapes) + 1000

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if not any(isinstance(value, Tensor) for value in torch.utils._pytree.tree_leaves((args, options))):
            made = func(*args, **{**options, "device": "meta"})  # its shape alone
            self.elements -= made.numel() if isinstance(made, Tensor) else 0
            self.tensors -= 1
            if self.elements < 0 or self.tensors < 0:
                raise InputError(f"model describes a network far larger than the stored weights; {self.remedy}")
        return func(*args, **options)


def _stored_shapes(path: Path, remedy: str) -> list[torch.Size]:
    with _readable(path, remedy), safe_open(path, framework="pt") as file:
        return [torch.Size(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - no mapping


@contextmanager
def _readable(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: weights cannot be read ({reason(error)}); {remedy}") from error


def _converts(stored: torch.dtype, wanted: torch.dtype) -> bool:
    return stored == wanted or (stored in FLOATS and wanted in FLOATS)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)
