"""The state of a training run on disk: one safetensors file written atomically, and the losses so far."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from pcc.runtime.files import atomic_path
from pcc.runtime.progress import log

CHECKPOINT = "checkpoint.safetensors"
LOSSES = "losses.csv"
COLUMNS = ("phase", "epoch", "step", "lr", "loss")


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


class LossLog:
    """Every step's losses: ``losses.csv`` (phase,epoch,step,lr,loss,<name>…) and TensorBoard.

    Args:
        folder: where both are written.
        rows: lines of an earlier run that its checkpoint covers; later ones are cut off and written again.
        main: whether this is the process that writes.
    """

    def __init__(self, folder: Path, *, rows: int, main: bool) -> None:
        self.path, self.main, self.rows = folder / LOSSES, main, rows
        self.buffer: list[dict[str, Any]] = self._read()[:rows] if rows else []
        if main:
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=rows)

    def add(
        self, phase: str, epoch: int, lr: float, named: Mapping[str, float], watched: Mapping[str, float]
    ) -> None:
        """Note one step; its number counts through all phases.

        Args:
            phase: name.
            epoch: within the phase.
            lr: learning rate.
            named: the parts of the loss.
            watched: what is no part of the loss.
        """
        if not self.main:
            return
        total = sum(named.values())
        row = {
            "phase": phase,
            "epoch": epoch,
            "step": len(self.buffer),
            "lr": f"{lr:.6g}",
            "loss": f"{total:.6g}",
        }
        self.buffer.append(row | {name: f"{value:.6g}" for name, value in {**named, **watched}.items()})
        for name, value in {"loss": total, "lr": lr, **named, **watched}.items():
            self.board.add_scalar(f"train/{name}", value, len(self.buffer) - 1)

    def flush(self) -> int:
        """Write all rows atomically and return how many there are."""
        names = list(dict.fromkeys(name for row in self.buffer for name in row))
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.buffer)
        self.board.flush()
        return len(self.buffer)

    def _read(self) -> list[dict[str, Any]]:
        with self.path.open(newline="", encoding="utf-8") as file:
            return [{k: v for k, v in row.items() if v or k in COLUMNS} for row in csv.DictReader(file)]

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.main:
            self.board.close()
