"""Log of training losses: losses.csv and TensorBoard."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from pcc.artifacts.losses import LOSS_COLUMNS, LOSSES
from pcc.runtime.files import atomic_path


class LossLog:
    """Losses of each step in ``losses.csv`` (phase,epoch,step,lr,loss,<name>…) and TensorBoard.

    Args:
        folder: output folder.
        rows: rows covered by the checkpoint; later rows are overwritten.
        main: whether this process writes.
    """

    def __init__(self, folder: Path, *, rows: int, main: bool) -> None:
        self.path, self.main, self.rows = folder / LOSSES, main, rows
        self.buffer: list[dict[str, Any]] = self._read()[:rows] if rows else []
        if main:
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=rows)

    def add(self, phase: str, epoch: int, lr: float, named: Mapping[str, float], watched: Mapping[str, float]) -> None:
        """Log one step; steps are numbered over all phases.

        Args:
            phase: name of the phase.
            epoch: within the phase.
            lr: learning rate.
            named: loss terms.
            watched: other scalars.
        """
        if not self.main:
            return
        total = sum(named.values())
        row = {"phase": phase, "epoch": epoch, "step": len(self.buffer), "lr": f"{lr:.6g}", "loss": f"{total:.6g}"}
        self.buffer.append(row | {name: f"{value:.6g}" for name, value in {**named, **watched}.items()})
        for name, value in {"loss": total, "lr": lr, **named, **watched}.items():
            self.board.add_scalar(f"train/{name}", value, len(self.buffer) - 1)

    def flush(self) -> int:
        """Write all rows atomically and return their number."""
        names = list(dict.fromkeys(name for row in self.buffer for name in row))
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.buffer)
        self.board.flush()
        return len(self.buffer)

    def _read(self) -> list[dict[str, Any]]:
        with self.path.open(newline="", encoding="utf-8") as file:
            return [{k: v for k, v in row.items() if v or k in LOSS_COLUMNS} for row in csv.DictReader(file)]

    def close(self) -> None:
        """Close TensorBoard."""
        if self.main:
            self.board.close()
