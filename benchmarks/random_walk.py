"""The random walk on a 500 x 375 image (stride 4): 256 sums of shifted maps, against squaring a dense matrix 8 times.

The dense form is IRN's and SIPE's; the claim is 50 times less memory and 20 times less time. Each runs in a process of
its own, so that its peak memory is its own; the dense one flushes denormal numbers, which slow it down without being a
merit of the other. Prints one JSON line.
"""

import json
import multiprocessing
import resource
import sys
import time
from typing import Any

import torch

from pcc.refine.random_walk import half_plane_offsets, highest_on_path, propagate, shifted

HEIGHT, WIDTH, CLASSES = 94, 125, 3
RADIUS, BETA, SQUARINGS = 5, 10, 8


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Soft blobs as maps, and a boundary that is low but for noisy rings around them."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-1, 1, WIDTH), indexing="ij")
    distance = torch.stack([(y - cy) ** 2 + (x - cx) ** 2 for cy, cx in ((0.3, -0.4), (-0.2, 0.5))])
    classes = torch.exp(-8 * distance)
    maps = torch.cat([1 - classes.amax(dim=0, keepdim=True), classes])
    noise = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    ring = torch.exp(-400 * (distance.amin(dim=0) - 0.15) ** 2)
    return maps, (0.05 + 0.9 * ring * (0.5 + noise / 2)).clamp(0, 1)


def shifted_sums(maps: torch.Tensor, boundary: torch.Tensor) -> torch.Tensor:
    """Ours."""
    return propagate(maps, boundary, RADIUS, BETA, 2**SQUARINGS)


def dense(maps: torch.Tensor, boundary: torch.Tensor) -> torch.Tensor:
    """The reference: the whole matrix in single precision, squared again and again."""
    torch.set_flush_denormal(True)
    cells = torch.arange(boundary.numel()).reshape(boundary.shape)
    matrix = torch.eye(boundary.numel())
    for dy, dx in half_plane_offsets(RADIUS):
        weight = (1 - highest_on_path(boundary, dy, dx)).flatten() ** BETA
        start, end = shifted(cells, dy, dx, 0, 0).flatten(), shifted(cells, dy, dx, dy, dx).flatten()
        matrix[start, end] = matrix[end, start] = weight
    matrix /= matrix.sum(dim=0)
    for _ in range(SQUARINGS):
        matrix = matrix @ matrix
    return (maps.flatten(1) @ matrix).reshape(maps.shape)


def measure(name: str, connection: Any) -> None:
    """Seconds, megabytes above what torch itself takes, and the result."""
    given = inputs()
    torch.ones(2, 2) @ torch.ones(2, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = {"ours": shifted_sums, "dense": dense}[name](*given)
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    connection.send((seconds, peak, result.numpy()))


def run(name: str) -> tuple[float, float, torch.Tensor]:
    """One measurement in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=measure, args=(name, there))
    process.start()
    seconds, peak, result = here.recv()
    process.join()
    return seconds, peak, torch.from_numpy(result)


def main() -> None:
    """Ours three times, the dense one once: it takes minutes."""
    ours = min((run("ours") for _ in range(3)), key=lambda r: r[0])
    theirs = run("dense")
    difference = float((ours[2] - theirs[2]).abs().max())
    print(json.dumps({
        "claim": "random walk", "grid": [HEIGHT, WIDTH], "threads": torch.get_num_threads(),
        "seconds": {"ours": round(ours[0], 2), "dense": round(theirs[0], 2)},
        "megabytes": {"ours": round(ours[1], 1), "dense": round(theirs[1], 1)},
        "ratio_of_time": round(theirs[0] / ours[0], 1), "ratio_of_memory": round(theirs[1] / max(ours[1], 0.1), 1),
        "largest_difference": difference,
        "masks_agree": float((ours[2].argmax(0) == theirs[2].argmax(0)).float().mean()),
    }))  # fmt: skip
    sys.exit(difference > 1e-4 or theirs[0] < 20 * ours[0] or theirs[1] < 50 * ours[1])


if __name__ == "__main__":
    main()
