"""A few seconds of measuring: each configured backbone forward a few times, each refinement called once.

Times are CPU times, so other processes on the machine do not distort them.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcc.models.backbones import Backbone
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.hardware import device
from pcc.runtime.plugins import load_attribute

TYPICAL = (375, 500)  # height and width, pixels
MEASURED_SIDE = 256
SECONDS = 15.0
REPEATS = 3
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


@dataclass(frozen=True)
class Network:
    """A backbone as measured here: seconds per pixel of one forward pass, stride and channels of its grid, size."""

    seconds: float
    stride: int
    channels: int
    parameters: int


Measured = Network | float
Job = tuple[str, str, Callable[[], Measured]]


def measure(config: Mapping[str, Any]) -> tuple[dict[str, Network], dict[str, float], list[str]]:
    """Measure what the experiments use for at most ``SECONDS`` of CPU time; equal entries are measured once.

    Returns:
        Networks by place in the configuration; seconds per image of each refinement, by place too; and one line
        for each that cannot be used.
    """
    started, known, problems = time.process_time(), dict[str, Measured](), list[str]()
    networks, refinements = dict[str, Network](), dict[str, float]()
    for place, alike, run in _jobs(config):
        if alike not in known:
            if time.process_time() - started > SECONDS:
                continue
            try:
                known[alike] = run()
            except InputError as error:
                problems += [f"{place}: {problem}" for problem in error.problems]
                continue
        found = known[alike]
        if isinstance(found, Network):
            networks[place] = found
        else:
            refinements[place] = found
    return networks, refinements, problems


def backbones_in(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and settings of every backbone in a part of the configuration (under ``backbone`` or ``features``)."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        place = f"{where}.{key}".lstrip(".")
        if key in ("backbone", "features") and isinstance(inner, Mapping) and "name" in inner:
            yield place, dict(inner)
        else:
            yield from backbones_in(inner, place)


def measure_network(settings: Mapping[str, Any], image_size: int | None) -> Network:
    """Time the quickest of three forward passes of a backbone with random weights, after one to warm up.

    On a CPU, the time of all its threads is shared among them.

    Raises:
        InputError: the backbone's settings cannot be used.
    """
    on_gpu = device() == "cuda"
    network = call_with(Backbone, {**settings, "weights": "random"}, "backbone").eval().to(device())
    side = _side(network, image_size)
    image = torch.rand(1, 3, side, side, device=device())
    clock, sharing = (time.perf_counter, 1) if on_gpu else (time.process_time, torch.get_num_threads())
    taken = []
    with torch.inference_mode():
        for _ in range(1 + REPEATS):
            started = clock()
            network(image)
            if on_gpu:
                torch.cuda.synchronize()
            taken.append((clock() - started) / sharing)
    return Network(min(taken[1:]) / side**2, network.stride, network.dim, sum(p.numel() for p in network.parameters()))


def _side(network: Backbone, image_size: int | None) -> int:
    wanted = min(image_size or max(TYPICAL), MEASURED_SIDE)
    return max(1, round(wanted / network.multiple_of)) * network.multiple_of


def frozen_memory(settings: Mapping[str, Any]) -> tuple[float, float]:
    """Bytes that a frozen backbone needs for a pixel of an image, and for its weights.

    Nothing is kept for a backward pass: the largest layer's input, output and one more beside them. Nothing is timed.

    Raises:
        InputError: the backbone's settings cannot be used.
    """
    network = call_with(Backbone, {**settings, "weights": "random"}, "backbone").eval()
    side, largest = _side(network, None), 0

    def count(_layer: torch.nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal largest
        largest = max(largest, output.nbytes if isinstance(output, torch.Tensor) else 0)

    for layer in network.modules():
        if not any(layer.children()):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.rand(1, 3, side, side))
    return 3 * largest / side**2, 4.0 * sum(p.numel() for p in network.parameters())


def memory() -> float:
    """Bytes of memory that networks have here: the GPU's, or the machine's as far as this process may use it."""
    if device() == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):
        limits.append(int(MEMORY_LIMIT.read_text()))
    return float(min(limits))


def measure_refinement(type: str, settings: Mapping[str, Any], where: str) -> float:
    """Seconds of one call on noise of 500 × 375 pixels with three classes.

    Raises:
        InputError: the refinement's settings cannot be used.
    """
    refine = load_attribute("pcc.refine", type, "refine", f"{where}.type")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*TYPICAL, 3), dtype=np.uint8)
    maps = torch.from_numpy(rng.random((3, 24, 32), dtype=np.float32))
    started = time.process_time()
    call_with(refine, settings, where, image=image, maps=maps)
    return time.process_time() - started


def _jobs(config: Mapping[str, Any]) -> Iterator[Job]:
    """Place, what makes two jobs alike, and the measurement."""
    for block, step in (("methods", "method"), ("localizations", "localization"), ("segmenters", "segmenter")):
        for name, entry in _used(config, block, step):
            size = (entry.get("training") or entry).get("image_size")
            for place, settings in backbones_in(entry, f"{block}.{name}"):
                yield place, f"{settings} at {size}", partial(measure_network, settings, size)
    for name, entry in _used(config, "refinements", "refinement"):
        settings, place = {k: v for k, v in entry.items() if k != "type"}, f"refinements.{name}"
        yield place, place, partial(measure_refinement, entry.get("type", name), settings, place)
    for name, entry in _used(config, "segmenters", "segmenter"):
        place = f"segmenters.{name}.prediction.crf"
        if crf := entry["prediction"].get("crf"):
            yield place, place, partial(measure_refinement, "crf", crf, place)


def _used(config: Mapping[str, Any], block: str, step: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = [e[step] for e in config["experiments"] if e.get(step)]
    for name in names:  # grows on the way by the methods that methods begin with
        if name not in config[block]:
            raise InputError(f"experiments: no '{name}' under {block}; define it, or correct the name")
        names += [other for other in config[block][name].get("after", {}).values() if other not in names]
    for name in dict.fromkeys(names):
        yield name, config[block][name]
