"""Training a segmenter from image files, against the same training from tensors that are in memory already.

Both are whole trainings by `pcc.training.fit` of the light head on a frozen EfficientNet-Lite0 at 448 pixels
(config/voc12_mini.yaml, without cached features), on two threads. One reads JPEGs and mask PNGs, resizes, mirrors and
batches them in a loader process beside them, as `pcc train_segmenter --threads 2` does; the other is handed the
finished floats. Both end with the same weights, to the bit. Each trains for one epoch and for several: the claim is on
images per second in between, as a training has many epochs; what starting costs is stated.

DeepLabV2-ResNet101 (config/voc12.yaml) is not timed here: an image takes it seconds on two cores, three orders of
magnitude above what reading one takes.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from measure import Claim, end, in_turn, quietly, ratio
from real import ROOT, training_images

from pcc.data.samples import Augmentation, TrainingSamples
from pcc.models.segmenter import build_segmenter
from pcc.trainable import Batch, Samples, as_shares
from pcc.training import Phase, Recipe, fit

IMAGES, THREADS, ROUNDS, EPOCHS = 64, 2, 2, 5
MEMORY, FILES = "from memory", "from files"


class InMemory:
    """The finished samples of two epochs, which differ in mirroring alone: all others repeat them."""

    views = 0

    def __init__(self, samples: Samples) -> None:
        self.samples = [
            [
                sample._replace(images=as_shares(sample.images))
                for sample in epoch
                if sample.images is not None
            ]
            for epoch in ([samples[views, i] for i in range(len(samples))] for views in (0, 1))
        ]

    def __len__(self) -> int:
        return len(self.samples[0])

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        return self.samples[epoch % 2][index]


def train(
    settings: dict[str, Any], classes: int, samples: Samples, workers: int, epochs: int
) -> dict[str, torch.Tensor]:
    """Some epochs from the first weights; the last ones."""
    training = settings["training"]
    torch.manual_seed(0)
    network = build_segmenter(settings["type"], classes, settings["model"])
    recipe = Recipe(
        [Phase(**training["phases"][0] | {"epochs": epochs})],
        training["batch_size"],
        weight_decay=training["weight_decay"],
        precision=training["precision"],
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(network, samples, recipe, seed=0, work=Path(folder), workers=workers)
    return network.state_dict()


def main() -> None:
    """Time both in turn, and compare their weights."""
    quietly()
    torch.set_num_threads(THREADS)
    data = training_images()
    settings = yaml.safe_load((ROOT / "config/voc12_mini.yaml").read_text())["segmenters"]["lite0"]
    records = [record for record in data.records if record.mask is not None][:IMAGES]
    masks = {record.image_id: record.mask for record in records if record.mask is not None}
    side = settings["training"]["image_size"]
    samples = TrainingSamples(data, records, side, Augmentation(), seed=0, masks=masks)
    start = time.process_time()
    memory = InMemory(samples)
    reading = (time.process_time() - start) / (2 * IMAGES)
    weights: dict[str, dict[str, torch.Tensor]] = {}

    def way(name: str, epochs: int) -> Callable[[], None]:
        given, workers = (memory, 0) if name == MEMORY else (samples, THREADS - 1)

        def run() -> None:
            weights[name] = train(settings, data.dataset.num_classes, given, workers, epochs)

        return run

    both = (MEMORY, FILES)
    runs = in_turn(
        {f"{name}, {n}": way(name, n) for n in (1, EPOCHS) for name in both}, ROUNDS, warm_up=False
    )
    short, long = ({name: runs[f"{name}, {n}"] for name in both} for n in (1, EPOCHS))
    seconds = {name: [b - a for a, b in zip(short[name], long[name], strict=True)] for name in both}
    equal = all(torch.equal(value, weights[FILES][name]) for name, value in weights[MEMORY].items())
    speeds = {name: IMAGES * (EPOCHS - 1) / statistics.median(seconds[name]) for name in both}
    facts = {
        **{f"{name}, images/s": round(speed, 2) for name, speed in speeds.items()},
        "first epoch, its start included": round(ratio(short, MEMORY, FILES), 2),
        "CPU ms to read an image": round(1000 * reading, 1),
        "same weights": equal,
    }
    name = f"segmentation training, light head on Lite0, {side} px, {IMAGES} images"
    end([Claim(name, ratio(seconds, MEMORY, FILES), 0.9, proven=equal, seconds=seconds, facts=facts)])


if __name__ == "__main__":
    main()
