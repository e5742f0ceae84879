"""One training step of each phase of SemPLeS at its published sizes: time, peak memory and shapes.

DeiT-S as WeakTr's generator, CLIP ViT-B/32, both with random weights (time and memory do not depend on them); crops of
224 pixels, 64 images with 1.5 tags each (128 in the phase that learns prompts), 30 words for each of 20 classes. Each
phase runs in a process of its own, so that its peak memory is its own. Prints one JSON line.
"""

import json
import multiprocessing
import resource
import time
from typing import Any

import torch

from pcc.methods.semples import SemPLeS
from pcc.trainable import Batch

CLASSES = [f"class {i}" for i in range(20)]
BATCH = {"match": 64, "prompts": 128, "refine": 64}
GENERATOR = {
    "type": "weaktr",
    "clusters": [],
    "model": {"backbone": {"name": "deit_small_patch16_224", "weights": "random"}},
}


def step(phase: str, connection: Any) -> None:
    """A forward and a backward pass; what they took is sent."""
    torch.manual_seed(0)
    method = SemPLeS(CLASSES, [], {"name": "ViT-B-32", "weights": "random"}, GENERATOR)
    method.learned.fill_(True)
    method.train().requires_grad_(False)
    trained = [p for group in method.parameter_groups(phase) for p in group.parameters]
    for parameter in trained:
        parameter.requires_grad_(True)
    count = BATCH[phase]
    labels = torch.zeros(count, len(CLASSES))
    labels[torch.arange(count), torch.arange(count) % 20] = 1
    labels[torch.arange(0, count, 2), torch.arange(3, count + 3, 2) % 20] = 1  # every other image has two
    batch = Batch(torch.rand(count, 3, 224, 224), labels)
    shapes = {
        "maps": list(method.localize(batch.images[:2], labels[:2]).shape),
        "prompts": list(method.prompts.shape),
        "image_features": list(method.clip.encode_images(batch.images[:2]).shape),
        "prompt_features": list(method.clip.encode_prompts(method.prompts[:2]).shape),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    losses = method.losses(batch, phase)
    torch.stack(list(losses.values())).sum().backward()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.send({
        "images": count, "pairs": int(labels.sum()), "seconds": round(seconds, 1),
        "peak_megabytes": round(peak / 1024), "of_them_networks": round(before / 1024),
        "trained_numbers": sum(p.numel() for p in trained),
        "largest_gradient": max(float(p.grad.abs().max()) for p in trained), "shapes": shapes,
    })  # fmt: skip


def main() -> None:
    """One phase after another."""
    found, context = {}, multiprocessing.get_context("spawn")
    for phase in BATCH:
        here, there = context.Pipe()
        process = context.Process(target=step, args=(phase, there))
        process.start()
        found[phase] = here.recv()
        process.join()
    print(json.dumps({"claim": "a step of SemPLeS", "threads": torch.get_num_threads(), **found}))


if __name__ == "__main__":
    main()
