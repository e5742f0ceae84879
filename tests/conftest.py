"""What many tests need: tiny data sets on disk, and a fresh training state for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from hypothesis import settings
from PIL import Image

from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Dataset, Manifest, Record

torch.set_num_threads(1)
settings.register_profile("pcc", deadline=None)  # a busy machine is no fault
settings.load_profile("pcc")
CLASSES = ("cat", "dog", "boat")


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its precision for the life of a process; tests want their own."""
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def tiny_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Make a data set of coloured squares on grey: class k is a square of one colour, mask included."""

    def make(train: int = 6, val: int = 2, side: int = 32, shards: int = 1) -> Path:
        folder = tmp_path / "data"
        colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
        records = []
        for number in range(train + val):
            rng = np.random.default_rng(number)
            image = rng.integers(90, 130, (side, side, 3))
            mask = np.zeros((side, side), np.uint8)
            label = number % 3
            top, left = rng.integers(0, side // 2, 2)
            image[top : top + side // 2, left : left + side // 2] = colours[label]
            mask[top : top + side // 2, left : left + side // 2] = label + 1
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(folder / f"images/im{number}.png")
            write_mask(folder / f"masks/im{number}.png", mask)
            split = "train" if number < train else "val"
            shard = number * shards // train if split == "train" else 0
            records.append(
                Record(
                    f"im{number}",
                    folder / f"images/im{number}.png",
                    (CLASSES[label],),
                    folder / f"masks/im{number}.png",
                    split,
                    f"{shard:03d}",
                )
            )
        taxonomy = {"animal": ("cat", "dog"), "vehicle": ("boat",)}
        Manifest(Dataset("tiny", CLASSES, taxonomy), tuple(records)).write(folder)
        return folder / "manifest.csv"

    return make
