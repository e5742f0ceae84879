"""The state of a training run on disk: one safetensors file, written atomically."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pcc.runtime.files import atomic_path
from pcc.runtime.progress import log

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Position:
    """Where training stands: ``step`` of phase number ``phase`` comes next.

    Attributes:
        rows: lines of the loss file written so far.
        optimizer: state tensors by ``{parameter number}.{name}``.
        scaler: state of the gradient scaler (fp16 only).
    """

    phase: int = 0
    step: int = 0
    rows: int = 0
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    scaler: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    accelerator: Accelerator,
    at: Position,
) -> None:
    """Write model, optimizer and position as one file; no ``optimizer`` between phases, where each starts afresh."""
    tensors = {
        f"model.{name}": value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    if optimizer is not None:
        for number, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value).cpu().contiguous()
    scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
    position = {"phase": at.phase, "step": at.step, "rows": at.rows, "scaler": scaler}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"position": json.dumps(position)})


def load_checkpoint(path: Path, model: nn.Module) -> Position:
    """Load the model's part into ``model`` and return the position; the start where there is no file."""
    if not path.exists():
        return Position()
    with safe_open(path, framework="pt") as file:
        position = Position(**json.loads(file.metadata()["position"]))
        state: dict[str, Tensor] = {}
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            part, name = key.split(".", 1)
            (state if part == "model" else position.optimizer)[name] = file.get_tensor(key)
    model.load_state_dict(state)
    log.info("resuming at phase %d, step %d", position.phase, position.step)
    return position


class Best:
    """The weights of a phase's best epoch so far, on disk; a run that is taken up again finds them.

    Args:
        work: folder of the checkpoint.
        phase: name.
    """

    def __init__(self, work: Path, phase: str) -> None:
        self.path = work / f"best-{phase}.safetensors"

    def offer(self, model: nn.Module, score: float) -> None:
        """Keep the weights if they score higher than those kept."""
        before = self._score()
        log.info("chosen by true masks (oracle): %.4f, best so far %.4f", score, max(score, before))
        if score > before:
            tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
            with atomic_path(self.path) as temporary:
                save_file(tensors, temporary, metadata={"score": repr(score)})

    def take(self, model: nn.Module) -> None:
        """Load what was kept."""
        model.load_state_dict(load_file(self.path))

    def _score(self) -> float:
        if not self.path.exists():
            return -math.inf
        with safe_open(self.path, framework="pt") as file:
            return float(file.metadata()["score"])


def restore_optimizer(optimizer: torch.optim.Optimizer, accelerator: Accelerator, position: Position) -> None:
    """Put a loaded position's state into a freshly made optimizer."""
    if position.scaler and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(position.scaler)
    if position.optimizer:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in position.optimizer.items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
