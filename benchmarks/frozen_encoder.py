"""Training a head on a frozen encoder: features computed once and cached, against the usual encoding in every step.

Both runs train the same classifier by `pcc.training.loop.fit` on the same drawn images; the ratio is of whole runs, the
making of the cache included. Prints one JSON line.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import torch

from pcc.methods.loading import load_method
from pcc.readers import shapes
from pcc.training.loop import Phase, Recipe, fit
from pcc.training.samples import Augmentation, TrainingSamples

IMAGES, EPOCHS, SIDE = 64, 10, 160
MODEL = {"backbone": {"name": "resnet18", "settings": {"output_stride": 16}}, "unfrozen_blocks": 0}


def seconds(cache_features: bool) -> tuple[float, float]:
    """Wall time of one run, and its last weights' sum (to show that both trained the same)."""
    torch.manual_seed(0)
    method = load_method("cam", [f"class {number}" for number in range(9)], [], MODEL)
    with tempfile.TemporaryDirectory() as folder:
        manifest = shapes.read(Path(folder), train=IMAGES, val=1, image_size=SIDE)
        samples = TrainingSamples(manifest, manifest.select("train"), SIDE, Augmentation(), seed=0)
        recipe = Recipe([Phase("train", EPOCHS, 1e-3)], batch_size=16, cache_features=cache_features)
        start = time.perf_counter()
        fit(method, samples, recipe, seed=0, work=Path(folder))
        return time.perf_counter() - start, float(method.classifier.weight.double().abs().sum())


def main() -> None:
    """Measure both, alternating, three times each; report the best of each."""
    logging.disable()
    runs = {name: [seconds(name == "cached") for _ in range(3)] for name in ("every_step", "cached")}
    best = {name: min(t for t, _ in times) for name, times in runs.items()}
    weights = {name: times[0][1] for name, times in runs.items()}
    difference = abs(weights["cached"] / weights["every_step"] - 1)
    ratio = best["every_step"] / best["cached"]
    print(json.dumps({"claim": "cached frozen encoder", "ratio": round(ratio, 2), "seconds": best,
                      "relative_difference_of_weights": difference, "threads": torch.get_num_threads()}))  # fmt: skip
    sys.exit(difference > 1e-2)


if __name__ == "__main__":
    main()
