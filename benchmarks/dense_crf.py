"""The compiled dense CRF against pydensecrf2: time, labels, memory, and two cores against one.

Both get the same photographs and the same energies, made from the localization maps that SIPE gave these photographs,
brought to the image's size. With 4 and with 21 labels: an image has two or three, the others are absent classes of low
probability, as where a user refines all classes. pydensecrf2 is called as its own examples do. Every photograph is
another problem of its own size and colours, so nothing is warm but the code; the first call of a process is stated too.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import real
import torch
from measure import Claim, end, in_turn, quietly, ratio
from pydensecrf.densecrf import DenseCRF2D

from pcc.data.images import read_image
from pcc.maps import resize
from pcc.mean_field import INSTRUCTIONS, Appearance, Smoothness, infer

PHOTOS, ITERATIONS = 100, 10
SMOOTHNESS, APPEARANCE = Smoothness(3, 3), Appearance(50, 5, 10)
ABSENT = 1e-4  # probability that all absent classes share
Problem = tuple[np.ndarray, np.ndarray]  # an image and its energies


def problems(labels: int) -> list[Problem]:
    """Photographs and energies of as many labels; where an image has more classes, of its first ones."""
    made = []
    for record, maps in real.localized(PHOTOS):
        image = read_image(record.image)
        scores = resize(maps.values[None].float(), image.shape[:2])[0].clamp_min(0).numpy()[:labels] + 1e-5
        probabilities = scores / scores.sum(axis=0)
        absent = labels - len(probabilities)
        if absent:
            rest = np.full((absent, *image.shape[:2]), ABSENT / absent, dtype=np.float32)
            probabilities = np.concatenate([probabilities * (1 - ABSENT), rest])
        made.append((image, -np.log(probabilities.clip(1e-5, 1)).astype(np.float32)))
    return made


def ours(problem: Problem) -> np.ndarray:
    return infer(*problem, ITERATIONS, SMOOTHNESS, APPEARANCE)


def theirs(problem: Problem) -> np.ndarray:
    image, energies = problem
    labels, height, width = energies.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(energies.reshape(labels, -1))
    crf.addPairwiseGaussian(sxy=SMOOTHNESS.xy, compat=SMOOTHNESS.weight)
    crf.addPairwiseBilateral(sxy=APPEARANCE.xy, srgb=APPEARANCE.rgb, rgbim=image.copy(), compat=APPEARANCE.weight)
    return np.array(crf.inference(ITERATIONS)).reshape(labels, height, width)


def timed(labels: int, target: float) -> Claim:
    """One thread, one photograph after another, both ways in turn on each."""
    seconds: dict[str, list[float]] = {"pydensecrf2": [], "ours": []}
    equal = []
    for number, problem in enumerate(problems(labels)):
        found = {}
        order = [("pydensecrf2", theirs), ("ours", ours)]
        for name, way in order if number % 2 else order[::-1]:
            start = time.perf_counter()
            found[name] = way(problem)
            seconds[name].append(time.perf_counter() - start)
        equal.append(float((found["ours"].argmax(0) == found["pydensecrf2"].argmax(0)).mean()))
    agreement = float(np.mean(equal))
    facts = {"equal labels": f"{agreement:.6f}", "least": f"{min(equal):.6f}", "photographs": len(equal)}
    facts |= {"first call, ms": round(1e3 * in_fresh_process("seconds", labels), 1), "instructions": INSTRUCTIONS}
    return Claim(f"dense CRF, {labels} labels", ratio(seconds, "pydensecrf2", "ours"), target,
                 proven=agreement >= 0.999, seconds=seconds, facts=facts)  # fmt: skip


def two_cores(target: float) -> Claim:
    """The same kernel on the same photographs, by one thread and by two; it leaves the interpreter's lock alone."""
    given = problems(4)[:30]

    def by(threads: int) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(ours, given))

        return run

    seconds = in_turn({"one core": by(1), "two cores": by(2)}, rounds=5)
    return Claim("dense CRF, two cores against one", ratio(seconds, "one core", "two cores"), target, seconds=seconds)


def memory(labels: int) -> Claim:
    """What one call adds to the peak of a fresh process, at 500 x 375."""
    megabytes = {name: in_fresh_process(name, labels) for name in ("ours", "pydensecrf2")}
    facts = {f"{name}, MB": round(value, 1) for name, value in megabytes.items()}
    return Claim(f"memory of the dense CRF, {labels} labels", megabytes["ours"] / megabytes["pydensecrf2"], 1.2,
                 better="lower", facts=facts)  # fmt: skip


def in_fresh_process(what: str, labels: int) -> float:
    """`measure_once` in a process that has called nothing yet."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=measure_once, args=(what, labels, there))
    process.start()
    found = float(here.recv())
    process.join()
    return found


def measure_once(what: str, labels: int, connection: Any) -> None:
    """Seconds of the first call of ours, or megabytes that the first call of either adds."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (375, 500, 3)).astype(np.uint8) // 8 + 100
    problem = image, rng.uniform(0, 5, (labels, 375, 500)).astype(np.float32)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = resident("VmRSS"), time.perf_counter()
    (theirs if what == "pydensecrf2" else ours)(problem)
    seconds = time.perf_counter() - start
    connection.send(seconds if what == "seconds" else resident("VmHWM") - before)


def resident(field: str) -> float:
    """Megabytes in memory, now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """All claims."""
    quietly()
    torch.set_num_threads(1)
    if INSTRUCTIONS is None:
        sys.exit("pcc.mean_field was not built on installation: there is nothing to measure")
    end([timed(4, 3.5), timed(21, 2.5), two_cores(1.7), memory(4), memory(21)])


if __name__ == "__main__":
    main()
