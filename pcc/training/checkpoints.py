"""Checkpoints of a training run: one safetensors file, written atomically."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pcc.artifacts.tensors import write_tensors
from pcc.runtime.progress import log

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Position:
    """Position in the training: next is step ``step`` of phase number ``phase``.

    Attributes:
        rows: rows of losses.csv written so far.
        optimizer: state tensors by ``{parameter number}.{name}``.
        scaler: state of the gradient scaler (fp16 only).
    """

    phase: int = 0
    step: int = 0
    rows: int = 0
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    scaler: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, accelerator: Accelerator, at: Position
) -> None:
    """Write model, optimizer and position to one file; ``optimizer`` is None between phases."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimizer is not None:
        for number, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
    scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
    position = {"phase": at.phase, "step": at.step, "rows": at.rows, "scaler": scaler}
    write_tensors(path, tensors, {"position": json.dumps(position)})


def load_checkpoint(path: Path, model: nn.Module) -> Position:
    """Load the weights into ``model`` and return the position; the start if there is no checkpoint."""
    if not path.exists():
        return Position()
    with safe_open(path, framework="pt") as file:
        position = Position(**json.loads(file.metadata()["position"]))
        state: dict[str, Tensor] = {}
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            part, name = key.split(".", 1)
            (state if part == "model" else position.optimizer)[name] = file.get_tensor(key)
    model.load_state_dict(state)
    log.info("resuming from checkpoint: phase %d, step %d", position.phase, position.step)
    return position


class Best:
    """The best weights of a phase so far, kept on disk.

    Args:
        work: folder of the checkpoint.
        phase: name of the phase.
    """

    def __init__(self, work: Path, phase: str) -> None:
        self.path = work / f"best-{phase}.safetensors"

    def offer(self, model: nn.Module, score: float) -> None:
        """Keep the weights if they score higher than the current best."""
        before = self._score()
        log.info("selected on ground truth (oracle): %.4f, best so far %.4f", score, max(score, before))
        if score > before:
            write_tensors(self.path, model.state_dict(), {"score": repr(score)})

    def take(self, model: nn.Module) -> None:
        """Load the best weights."""
        model.load_state_dict(load_file(self.path))

    def _score(self) -> float:
        if not self.path.exists():
            return -math.inf
        with safe_open(self.path, framework="pt") as file:
            return float(file.metadata()["score"])


def restore_optimizer(optimizer: torch.optim.Optimizer, accelerator: Accelerator, position: Position) -> None:
    """Restore the state of a loaded position in a new optimizer."""
    if position.scaler and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(position.scaler)
    if position.optimizer:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in position.optimizer.items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
