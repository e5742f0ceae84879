"""A few seconds of measuring: each configured backbone forward a few times, each refinement called once."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from pcc.models.backbones import Backbone
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.plugins import load_attribute

TYPICAL = (375, 500)  # height and width, pixels
MEASURED_SIDE = 256
SECONDS = 15.0
REPEATS = 3


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
    """What the experiments use, for about ``SECONDS`` seconds at most; what is alike is measured once.

    Returns:
        Networks by place in the configuration; seconds per image of each refinement, by place too; and one line
        for each that cannot be used.
    """
    started, known, problems = time.monotonic(), dict[str, Measured](), list[str]()
    networks, refinements = dict[str, Network](), dict[str, float]()
    for place, alike, run in _jobs(config):
        if alike not in known:
            if time.monotonic() - started > SECONDS:
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

    The quickest, because whatever else the machine does can only make one slower.

    Raises:
        InputError: the backbone's settings cannot be used.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = call_with(Backbone, {**settings, "weights": "random"}, "backbone").eval().to(device)
    side = max(1, round(min(image_size or max(TYPICAL), MEASURED_SIDE) / network.multiple_of)) * network.multiple_of
    image = torch.rand(1, 3, side, side, device=device)
    taken = []
    with torch.inference_mode():
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            network(image)
            if device == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
    return Network(min(taken[1:]) / side**2, network.stride, network.dim, sum(p.numel() for p in network.parameters()))


def measure_refinement(type: str, settings: Mapping[str, Any], where: str) -> float:
    """Seconds of one call on noise of 500 × 375 pixels with three classes.

    Raises:
        InputError: the refinement's settings cannot be used.
    """
    refine = load_attribute("pcc.refine", type, "refine", f"{where}.type")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*TYPICAL, 3), dtype=np.uint8)
    maps = torch.from_numpy(rng.random((3, 24, 32), dtype=np.float32))
    started = time.perf_counter()
    call_with(refine, settings, where, image=image, maps=maps)
    return time.perf_counter() - started


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
