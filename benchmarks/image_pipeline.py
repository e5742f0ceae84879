"""Training a segmenter from image files, against the same training from tensors that are in memory already.

Both are whole trainings by `pcc.training.loop.fit` of the light head on a frozen EfficientNet-Lite0 at 448 pixels
(config/voc12_mini.yaml, without cached features), on two threads. One reads JPEGs and mask PNGs, resizes, mirrors and
batches them in loader processes beside them, as `pcc train_segmenter --threads 2` does; the other is handed the
finished floats. Both end with the same weights, to the bit. They take turns, an epoch each: while one trains, the
other and its loaders are stopped, as a machine's speed changes by more from one minute to the next than reading costs.
The claim is on all epochs between the first and the last, as a training has many; what the first takes, loaders' start
included, is stated.

DeepLabV2-ResNet101 (config/voc12.yaml) is not timed here: an image takes it seconds on two cores, three orders of
magnitude above what reading one takes.
"""

import statistics
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from measure import Claim, end, quietly, ratio
from real import ROOT, training_images
from torch import Tensor
from turns import Turns, take_turns

from pcc.models.segmenter import build_segmenter
from pcc.trainable import Batch, Samples, to_unit_range
from pcc.training.batches import loader_processes
from pcc.training.loop import Phase, Recipe, fit
from pcc.training.samples import Augmentation, TrainingSamples

IMAGES, THREADS, BATCH, EPOCHS = 64, 2, 16, 11
MEMORY, FILES = "from memory", "from files"


class InMemory:
    """The finished samples of two epochs, which differ in mirroring alone: all others repeat them."""

    views = 0

    def __init__(self, samples: Samples) -> None:
        self.samples = [
            [sample._replace(images=to_unit_range(sample.images)) for sample in epoch if sample.images is not None]
            for epoch in ([samples[views, i] for i in range(len(samples))] for views in (0, 1))
        ]

    def __len__(self) -> int:
        return len(self.samples[0])

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        return self.samples[epoch % 2][index]


class Found(NamedTuple):
    """CPU seconds to read an image, where that was timed, and a digest of the trained weights."""

    reading: float
    weights: str


def train(name: str, turns: Turns) -> Found:
    """One training, an epoch a turn."""
    quietly()
    data = training_images()
    settings = yaml.safe_load((ROOT / "config/voc12_mini.yaml").read_text())["segmenters"]["lite0"]
    training, side = settings["training"], settings["training"]["image_size"]
    records = [record for record in data.records if record.mask is not None][:IMAGES]
    masks = {record.image_id: record.mask for record in records if record.mask is not None}
    samples: Samples = TrainingSamples(data, records, side, Augmentation(), seed=0, masks=masks)
    workers, reading = loader_processes(THREADS), 0.0
    if name == MEMORY:
        torch.set_num_threads(1)  # as in a loader process
        start = time.process_time()
        samples, workers = InMemory(samples), 0
        reading = (time.process_time() - start) / (2 * IMAGES)
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network: Any = build_segmenter(settings["type"], data.dataset.num_classes, settings["model"])
    steps = iter(range(1, sys.maxsize))

    def after_step() -> dict[str, Tensor]:
        done = next(steps)
        if done % (IMAGES // BATCH) == 0 and done < EPOCHS * IMAGES // BATCH:
            turns.next()
        return {}

    network.watched = after_step  # `fit` calls it for scalars worth a curve
    recipe = Recipe(
        [Phase(**training["phases"][0] | {"epochs": EPOCHS})],
        BATCH,
        weight_decay=training["weight_decay"],
        precision=training["precision"],
    )
    with tempfile.TemporaryDirectory() as folder:
        turns.next()
        fit(network, samples, recipe, seed=0, work=Path(folder), workers=workers)
        turns.over()
    weights = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    return Found(reading, sha256(weights).hexdigest())


def main() -> None:
    """Let both train in turn, and compare their weights."""
    epochs, found = take_turns(train, (MEMORY, FILES), EPOCHS)
    firsts = {name: seconds[:1] for name, seconds in epochs.items()}
    seconds = {name: seconds[1:-1] for name, seconds in epochs.items()}  # the last one writes the weights
    equal = found[MEMORY].weights == found[FILES].weights
    facts = {
        **{f"{name}, images/s": round(IMAGES / statistics.median(of), 2) for name, of in seconds.items()},
        "first epoch, its start included": round(ratio(firsts, MEMORY, FILES), 2),
        "CPU ms to read an image": round(1000 * found[MEMORY].reading, 1),
        "same weights": equal,
    }
    name = f"segmentation training, light head on Lite0, {IMAGES} images"
    end([Claim(name, ratio(seconds, MEMORY, FILES), 0.9, proven=equal, seconds=seconds, facts=facts)])


if __name__ == "__main__":
    main()
