"""The training loop for methods, segmenters and boundary networks; distributed, resumable at any step.

Randomness depends only on (seed, phase, step), for augmentation on (seed, epoch, image). A resumed run therefore ends
with the same weights as an uninterrupted one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, send_to_device
from torch import Tensor, nn

from pcc.runtime.errors import InputError
from pcc.runtime.hardware import Precision, device, keep_freed_memory, resolve_precision
from pcc.runtime.interruption import EXIT_CODE, Interruption, noticing_sigterm
from pcc.runtime.parallel import mean_over_processes
from pcc.runtime.progress import log, track
from pcc.runtime.settings import (
    Count,
    Epochs,
    EpochsOrZero,
    ImageCount,
    Name,
    Positive,
    Rate,
    RateOrZero,
    Rule,
    Steps,
    limits,
)
from pcc.trainable import Batch, ParameterGroup, Samples, Trainable, to_unit_range
from pcc.training.batches import Batches, load_batches, seed_number
from pcc.training.checkpoints import CHECKPOINT, Best, Position, load_checkpoint, restore_optimizer, save_checkpoint
from pcc.training.feature_cache import cached_features
from pcc.training.losses import LossLog


@dataclass(frozen=True)
class Phase:
    """A training phase with its own learning rate and trained parameters.

    Attributes:
        name: selects parameters and losses; the names that matter depend on the method (``warmup`` for pcc and sipe).
        epochs: passes over the training images.
        lr: peak learning rate.
        schedule: decay to ``min_lr`` over the phase; ``constant``: no decay.
        ramp_epochs: epochs at the start in which the learning rate rises linearly to ``lr``; the decay follows.
        min_lr: learning rate at the end of the decay.
        batch_size: images per step; None: that of all phases.
        select: weights after the phase: of the ``last`` epoch, or the best on ground-truth ``masks`` (oracle).

    Raises:
        InputError: a rise that is longer than the phase, or a decay that rises.
    """

    name: Name
    epochs: Epochs
    lr: Rate
    schedule: Literal["constant", "cosine", "poly"] = "cosine"
    ramp_epochs: EpochsOrZero = 0
    min_lr: RateOrZero = 0.0
    batch_size: ImageCount | None = None
    select: Literal["last", "masks"] = "last"

    def __post_init__(self) -> None:
        where = f"training.phases: {self.name}:"
        if 0 < self.epochs < self.ramp_epochs:
            raise InputError(f"{where} ramp_epochs, {self.ramp_epochs}, must be at most epochs, {self.epochs}")
        if self.min_lr > self.lr:
            raise InputError(f"{where} min_lr, {self.min_lr:g}, must be at most lr, {self.lr:g}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate at step ``step`` of ``steps`` (poly: power 0.9)."""
        rise = steps // self.epochs * self.ramp_epochs
        if step < rise:
            return self.lr * (step + 1) / rise
        done = (step - rise) / (steps - rise)
        fall = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "poly": (1 - done) ** 0.9}
        return self.min_lr + (self.lr - self.min_lr) * fall[self.schedule]


@dataclass(frozen=True)
class Recipe:
    """Settings of `fit`.

    Attributes:
        phases: in order.
        batch_size: images per step, over all GPUs together.
        accumulate: equal parts that each process computes its share of a batch in, to save memory. Gradients are those
            of the whole batch, except that batch norms in training mode, and means over pixels or pairs of cells, see
            one part at a time.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        weight_decay: for parameter groups that set none.
        momentum: SGD only.
        clip_norm: maximum global gradient norm; None: no clipping.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 if supported.
        checkpoint_every: steps between checkpoints.
        cache_features: compute a frozen encoder once per image and flip instead of at every step.
    """

    phases: Annotated[Sequence[Phase], limits(min_length=1, max_length=64), Rule("distinct", "name")]
    batch_size: ImageCount
    accumulate: Count = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: Annotated[float, limits(ge=0, le=10)] = 0.0
    momentum: Annotated[float, limits(ge=0, lt=1)] = 0.9
    clip_norm: Positive | None = None
    precision: Precision = "no"
    checkpoint_every: Steps = 200
    cache_features: bool = False


def fit(
    model: Trainable,
    samples: Samples,
    recipe: Recipe,
    *,
    seed: int,
    work: Path,
    workers: int = 0,
    score: Callable[[str], float] | None = None,
) -> None:
    """Train ``model`` in place; it returns in evaluation mode.

    Args:
        model: a `Trainable` module.
        samples: training images.
        recipe: phases, batch size, optimizer.
        seed: seed of order, augmentation and dropout.
        work: folder of checkpoint, losses and feature cache; training resumes from it.
        workers: loader processes.
        score: metric of the current model in a phase, on ground truth; for phases with ``select: masks``.

    Raises:
        InputError: ``select: masks`` without ``score``, a batch size that is no multiple of the number of processes
            or cannot be accumulated in equal parts, no steps at all, nothing to cache, or a loss or weight that is not
            finite.
        ProcessLost: a data loader was killed.
        SystemExit: on SIGTERM, after saving a checkpoint.
    """
    run = _Run(model, samples, recipe, seed, work, workers, score)
    position = load_checkpoint(work / CHECKPOINT, model)
    with noticing_sigterm() as interruption, run.loaders:
        run.accelerator.wait_for_everyone()  # SIGTERM kills a process without a handler
        while position.phase < len(recipe.phases):
            position = run.phase(position, interruption)
    run.finish()
    model.eval()


class _Run:
    """One call of `fit`: state shared by all phases."""

    def __init__(
        self,
        model: Trainable,
        samples: Samples,
        recipe: Recipe,
        seed: int,
        work: Path,
        workers: int,
        score: Callable[[str], float] | None,
    ) -> None:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling only guards against reads of uninitialised memory; there are none.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if device() == "cpu":
            keep_freed_memory()
        if not recipe.phases or not len(samples) or min(phase.epochs for phase in recipe.phases) < 1:
            raise InputError("training: no steps; give at least one phase, one epoch in each, and one training image")
        for phase in recipe.phases:  # fail early on unknown names
            model.parameter_groups(phase.name)
            if phase.select == "masks" and score is None:
                raise InputError(
                    f"training.phases: {phase.name}: 'select: masks' is for methods only, "
                    "on images with ground-truth masks"
                )
        self.model, self.samples, self.recipe = model, samples, recipe
        self.seed, self.work, self.workers, self.score = seed, work, workers, score
        self.accelerator = Accelerator(
            cpu=device() == "cpu",
            mixed_precision=resolve_precision(recipe.precision),
            # A batch may lack the input of some parameters.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self._check_cache()
        processes = self.accelerator.num_processes
        for size in {min(phase.batch_size or recipe.batch_size, len(samples)) for phase in recipe.phases}:
            if size % processes:
                raise InputError(
                    f"training.batch_size: {size} must be a multiple of the number of processes, {processes}; "
                    "otherwise results depend on the number of GPUs"
                )
            if (share := size // processes) % recipe.accumulate:
                raise InputError(
                    f"training.accumulate: {recipe.accumulate} must divide the {share} images of a batch"
                    f"{' on each process' * (processes > 1)}; otherwise parts would not weigh alike"
                )
        model.to(self.accelerator.device)
        if processes > 1 and self.accelerator.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # statistics of the whole batch, as on one GPU
        self.losses: LossLog | None = None
        self.loaders = ExitStack()  # however the training ends, they end

    def _check_cache(self) -> None:
        frozen = any(self.model.is_encoder_frozen(phase.name) for phase in self.recipe.phases)
        if self.recipe.cache_features and not (frozen and self.samples.views):
            reason = "every epoch augments images in another way" if frozen else "no phase has a frozen encoder"
            raise InputError(f"training.cache_features: nothing to cache, {reason}; set it to false")

    def _check_finite(self, phase: Phase) -> None:
        state = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        if broken := [name for name, value in state.items() if not value.isfinite().all()]:
            raise InputError(
                f"training diverged in phase {phase.name}: {len(broken)} of {len(state)} parameters and buffers are "
                f"not finite, first {broken[0]}; lower the learning rate (lr {phase.lr:g})"
            )

    def phase(self, at: Position, interruption: Interruption) -> Position:
        """Train from position ``at`` to the end of its phase; return the start of the next."""
        phase = self.recipe.phases[at.phase]
        self.losses = self.losses or LossLog(self.work, rows=at.rows, main=self.accelerator.is_main_process)
        module, optimizer, loader, batches = self._prepare(phase, at)
        shown = ""
        self.loaders.enter_context(closing(loader))
        steps = track(loader, f"train {phase.name}", batches.total, done=at.step, status=lambda: shown)
        for step, loaded in enumerate(steps, at.step):
            lr = phase.lr_at(step, batches.total)
            batch = send_to_device(loaded, self.accelerator.device)._replace(progress=step / batches.total)
            named, watched = self._step(module, optimizer, batch, phase, step, lr)
            named, stop = self._over_processes(named, stop=interruption.requested)
            self.losses.add(phase.name, step // batches.per_epoch, lr, named, watched)
            shown = f"loss {sum(named.values()):.4f}"
            if phase.select == "masks" and (step + 1) % batches.per_epoch == 0:
                self._keep_best(phase.name)
            due = stop or (step + 1) % self.recipe.checkpoint_every == 0
            if due and step + 1 < batches.total:
                self._save(optimizer, Position(at.phase, step + 1))
                if stop:
                    log.info(
                        "received SIGTERM: checkpoint saved at step %d of phase %s; rerun to resume",
                        step + 1,
                        phase.name,
                    )
                    raise SystemExit(EXIT_CODE)
        if phase.select == "masks":
            Best(self.work, phase.name).take(self.model)
        self._check_finite(phase)
        return self._save(None, Position(at.phase + 1))

    def _prepare(self, phase: Phase, at: Position) -> tuple[Any, Any, Any, Batches]:
        """Model and optimizer from ``accelerator.prepare``, this process's part of the remaining batches, and these."""
        groups = self.model.parameter_groups(phase.name)
        _train_only(self.model, groups)
        samples, size = self._samples(phase), phase.batch_size or self.recipe.batch_size
        part = (self.accelerator.process_index, self.accelerator.num_processes)
        batches = Batches(len(samples), size, phase.epochs, f"{self.seed}/{phase.name}", at.step, part)
        module, optimizer = self.accelerator.prepare(_LossModule(self.model), _optimizer(groups, self.recipe))
        restore_optimizer(optimizer, self.accelerator, at)
        return module, optimizer, load_batches(samples, batches, self.workers), batches

    def _samples(self, phase: Phase) -> Samples:
        if not (self.recipe.cache_features and self.samples.views and self.model.is_encoder_frozen(phase.name)):
            return self.samples
        with self.accelerator.main_process_first():
            return cached_features(
                self.model, self.samples, self.work / "features", self.accelerator, self.recipe.batch_size, self.workers
            )

    def _step(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, phase: Phase, step: int, lr: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Losses of the batch, and what the model watched."""
        torch.manual_seed(seed_number(f"{self.seed}/{phase.name}/{step}/{self.accelerator.process_index}"))
        for group in optimizer.param_groups:
            group["lr"] = group["lr_scale"] * lr
        parts = self.recipe.accumulate
        seen: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        for number, part in enumerate(self._ready(batch).split(parts), start=1):
            # Processes exchange gradients once, after the last part.
            with self.accelerator.no_sync(module) if number < parts else nullcontext():
                named = module(part, phase.name)
                self.accelerator.backward(torch.stack(list(named.values())).sum() / parts)
            seen.append(({name: value.detach() for name, value in named.items()}, self.model.watched()))
        if self.recipe.clip_norm is not None:
            self.accelerator.clip_grad_norm_(module.parameters(), self.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses, watched = (_means(column) for column in zip(*seen, strict=True))
        if not all(math.isfinite(v) for v in losses.values()):
            raise InputError(f"training diverged in phase {phase.name}, step {step}: {losses}; lower the learning rate")
        return losses, watched

    def _ready(self, batch: Batch) -> Batch:
        """Images in 0..1, and the pairs of each part on average."""
        pairs = float(mean_over_processes(batch.labels.sum())) / self.recipe.accumulate
        images = None if batch.images is None else to_unit_range(batch.images)
        return batch._replace(images=images, pairs=pairs)

    def _save(self, optimizer: torch.optim.Optimizer | None, at: Position) -> Position:
        if self.accelerator.is_main_process and self.losses is not None:
            at.rows = self.losses.flush()
            save_checkpoint(self.work / CHECKPOINT, self.model, optimizer, self.accelerator, at)
        self.accelerator.wait_for_everyone()
        return at

    def _over_processes(self, named: dict[str, float], *, stop: bool) -> tuple[dict[str, float], bool]:
        """Losses averaged over processes, and whether any process must stop: all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return named, stop
        mine = torch.tensor([*named.values(), float(stop)], device=self.accelerator.device)
        *values, stops = self.accelerator.reduce(mine, "mean").tolist()
        return dict(zip(named, values, strict=True)), stops > 0

    def _keep_best(self, phase: str) -> None:
        if self.accelerator.is_main_process and self.score is not None:
            self.model.eval()
            Best(self.work, phase).offer(self.model, self.score(phase))
            self.model.train()
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Close the logs and free memory."""
        if self.losses is not None:
            self.losses.close()
        self.accelerator.free_memory()


def _train_only(model: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    """Enable gradients only for parameters in groups; frozen parts build no graph."""
    model.train()
    model.requires_grad_(False)
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)


def _optimizer(groups: Sequence[ParameterGroup], recipe: Recipe) -> torch.optim.Optimizer:
    settings = [
        {
            "params": g.parameters,
            "lr_scale": g.lr_scale,
            "weight_decay": recipe.weight_decay if g.weight_decay is None else g.weight_decay,
        }
        for g in groups
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=0.0, momentum=recipe.momentum)
    adam = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return adam(settings, lr=0.0)


def _means(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Each scalar's mean over the parts that have it."""
    columns: dict[str, list[float]] = {}
    for part in parts:
        for name, value in part.items():
            columns.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in columns.items()}


class _LossModule(nn.Module):
    """``losses`` as ``forward``, because data-parallel wrappers synchronise gradients of ``forward`` only."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        return self.model.losses(batch, phase)
