"""PCC's training step on the last blocks of a ViT, against the same step with all gradients kept, in fp32.

Theirs is the field's usual loop: every parameter requires a gradient and gets one, though only the head and the last
blocks are stepped. Ours is `pcc.training.loop.fit`: no graph, no activation of frozen blocks, bf16 where the hardware
multiplies it. Both train the published network (config/voc12.yaml) on a ViT-S/14 of DINOv2, from the same weights, on
the same photographs in the same order with the same dropout, four at a time where the recipe has sixteen. Each has a
process of its own, for its peak memory, and they take turns step by step. A third run, ours with another dropout, tells
how far two curves of the same recipe lie apart: ours and theirs must lie nearer.

A frozen encoder whose features are cached is another claim: benchmarks/frozen_encoder.py.
"""

import math
import os
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
import yaml
from measure import Claim, end, quietly, ratio
from real import RESULTS, ROOT, training_images
from torch import Tensor
from turns import Turns, take_turns

from pcc.data.manifest import Manifest
from pcc.methods.base import Method
from pcc.methods.loading import load_method
from pcc.runtime.hardware import device, resolve_precision
from pcc.trainable import Batch, to_unit_range
from pcc.training.batches import Batches, collate, seed_number
from pcc.training.loop import Phase, Recipe, fit
from pcc.training.samples import Augmentation, TrainingSamples

WEIGHTS = ROOT / "../shared/weights/vit_small_patch14_dinov2.fp16.safetensors"
CONFIGURATION = ROOT / "config/voc12.yaml"
SIDE = 392  # the published 384 is no multiple of this network's patch
IMAGES, BATCH, EPOCHS = 32, 4, 2
STEPS = IMAGES // BATCH * EPOCHS
THREADS = len(os.sched_getaffinity(0))
PHASE, LR = "main", 1e-4
THEIRS, OURS, AGAIN = "all gradients, fp32", "ours", "ours, another dropout"


def network() -> Method:
    """The published settings on the small ViT; the same weights in every process."""
    published = yaml.safe_load(CONFIGURATION.read_text())["methods"]["pcc"]["model"]
    backbone = {"name": "vit_small_patch14_dinov2", "weights": str(WEIGHTS), "settings": {"img_size": SIDE}}
    classes = yaml.safe_load((ROOT / "resources/voc12.yaml").read_text())
    groups = [[classes["classes"].index(name) for name in group] for group in classes["taxonomy"].values()]
    torch.manual_seed(0)
    return load_method("pcc", classes["classes"], groups, published | {"backbone": backbone})


class InMemory:
    """Samples made beforehand, so that no side waits for images."""

    views = 0

    def __init__(self) -> None:
        data = Manifest.read(RESULTS / "data/manifest.csv", "train")
        published = yaml.safe_load(CONFIGURATION.read_text())["methods"]["pcc"]["training"]["augmentation"]
        made = TrainingSamples(data, data.records[:IMAGES], SIDE, Augmentation(**published), seed=0)
        keys = [(epoch, index) for epoch in range(EPOCHS) for index in range(IMAGES)]
        self.samples = {key: made[key] for key in keys}

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self.samples[key]


def ours(model: Method, samples: InMemory, turns: Turns, another: bool) -> list[float]:
    """`fit`, its model told to wait for its turn; losses of all steps."""
    seen: list[float] = []
    losses = model.losses

    def watched(batch: Batch, phase: str) -> dict[str, Tensor]:
        turns.next()
        if another:
            torch.manual_seed(1000 + len(seen))
        named = losses(batch, phase)
        seen.append(sum(float(loss.detach()) for loss in named.values()))
        return named

    model.losses = watched  # type: ignore[method-assign]
    recipe = Recipe(
        [Phase(PHASE, EPOCHS, LR, "constant")], BATCH, optimizer="adam", precision="auto", checkpoint_every=10**6
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(model, samples, recipe, seed=0, work=Path(folder))
    return seen


def theirs(model: Method, samples: InMemory, turns: Turns) -> list[float]:
    """The plain loop; losses of all steps."""
    model.to(device()).train()
    groups = model.parameter_groups(PHASE)
    optimizer = torch.optim.Adam([p for group in groups for p in group.parameters], lr=LR)
    seen: list[float] = []
    for step, keys in enumerate(Batches(IMAGES, BATCH, EPOCHS, f"0/{PHASE}")):
        turns.next()
        batch = Batch(*(None if v is None else v.to(device()) for v in collate([samples[k] for k in keys])[:5]))
        torch.manual_seed(seed_number(f"0/{PHASE}/{step}/0"))  # the same dropout
        named = model.losses(batch._replace(images=to_unit_range(batch.images)), PHASE)
        loss = torch.stack(list(named.values())).sum()
        model.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    return seen


def side(name: str, turns: Turns) -> tuple[list[float], float, float]:
    """One process: its losses, and its peak memory with what it had before the first step, GiB."""
    quietly()
    torch.set_num_threads(THREADS)
    samples, model = InMemory(), network()
    before = memory("VmRSS")
    losses = theirs(model, samples, turns) if name == THEIRS else ours(model, samples, turns, name == AGAIN)
    turns.over()
    return losses, memory("VmHWM"), before


def memory(kind: str) -> float:
    """GiB of this process (``VmHWM``: at most so far), or of the GPU where the training is there."""
    if device() == "cuda":
        return (torch.cuda.max_memory_allocated() if kind == "VmHWM" else torch.cuda.memory_allocated()) / 2**30
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(kind))) / 2**20


def apart(a: Iterable[float], b: Iterable[float]) -> float:
    """Root mean square difference of two curves."""
    return math.sqrt(statistics.fmean((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def main() -> None:
    """All sides, a step of each in turn."""
    training_images()  # the manifest is made
    steps, found = take_turns(side, (THEIRS, OURS, AGAIN), STEPS)
    # The first step warms up, and the last of `fit` writes a checkpoint.
    seconds = {name: steps[name][1:-1] for name in (THEIRS, OURS)}
    curves = {name: losses for name, (losses, _, _) in found.items()}
    difference, noise = apart(curves[THEIRS], curves[OURS]), apart(curves[OURS], curves[AGAIN])
    peaks = {
        name: f"{found[name][1]:.2f}, {found[name][1] - found[name][2]:.2f} of them by training" for name in seconds
    }
    facts = {
        "loss from": f"{curves[THEIRS][0]:.4f} to {curves[THEIRS][-1]:.4f} (ours {curves[OURS][-1]:.4f})",
        "RMS difference of the curves": f"{difference:.2g} (of two dropouts {noise:.2g})",
        "largest": f"{max(abs(a - b) for a, b in zip(curves[THEIRS], curves[OURS], strict=True)):.2g}",
        "peak GiB": "; ".join(f"{name}: {peak}" for name, peak in peaks.items()),
        "precision": resolve_precision("auto"),
        "threads": THREADS,
    }
    name = f"PCC training step, last 5 of 12 blocks, {BATCH} x {SIDE} px"
    end([Claim(name, ratio(seconds, THEIRS, OURS), 2.0, proven=difference <= noise, seconds=seconds, facts=facts)])


if __name__ == "__main__":
    main()
