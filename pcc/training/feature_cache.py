"""Cache of a frozen encoder's features in memory maps."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.lib.format import open_memmap

from pcc.runtime.files import atomic_path
from pcc.runtime.progress import track
from pcc.trainable import Batch, Samples, Trainable, to_unit_range
from pcc.training.batches import load_batches


def cached_features(
    model: Trainable, samples: Samples, folder: Path, accelerator: Accelerator, batch_size: int, workers: int
) -> "CachedSamples":
    """Encode every variant of every image (fp16 on disk), unless cached in ``folder``.

    Args:
        model: its ``encode`` must not change while the cache is in use.
        samples: with ``views`` fixed variants each.
        folder: memory maps of features, labels and masks; images are not read again.
        accelerator: device and precision.
        batch_size: images per forward pass.
        workers: loader processes.
    """
    if not (folder / "features.npy").exists():
        _encode(model, samples, folder, accelerator, batch_size, workers)
    return CachedSamples(folder, samples.views)


def _encode(
    model: Trainable, samples: Samples, folder: Path, accelerator: Accelerator, batch_size: int, workers: int
) -> None:
    count = samples.views * len(samples)
    keys = [(view, index) for view in range(samples.views) for index in range(len(samples))]
    arrays: dict[str, np.memmap] = {}
    folder.mkdir(exist_ok=True)
    batches = [keys[start : start + batch_size] for start in range(0, count, batch_size)]
    start = 0
    with atomic_path(folder / "features.npy") as temporary, closing(load_batches(samples, batches, workers)) as loaded:
        for batch in track(loaded, "cache features", len(batches)):
            assert batch.images is not None
            with torch.no_grad(), accelerator.autocast():
                features = model.encode(to_unit_range(batch.images.to(accelerator.device)))
            columns = {"features": features.to("cpu", torch.float16).numpy(), "labels": batch.labels.numpy()}
            if batch.masks is not None:
                columns["masks"] = batch.masks.numpy()
            for name, values in columns.items():
                if name not in arrays:
                    path = temporary if name == "features" else folder / f"{name}.npy"
                    arrays[name] = open_memmap(path, "w+", values.dtype, (count, *values.shape[1:]))
                    _reserve(path)
                arrays[name][start : start + len(values)] = values
            start += len(batch.labels)
        for array in arrays.values():
            array.flush()


def _reserve(path: Path) -> None:
    """Take a file's whole size from the disk now: writing to a memory map of a full disk kills the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class CachedSamples:
    """Cached samples; epochs cycle through the variants."""

    def __init__(self, folder: Path, views: int) -> None:
        self.views = views
        self.features = np.load(folder / "features.npy", mmap_mode="r")
        self.labels = np.load(folder / "labels.npy")
        masks = folder / "masks.npy"
        self.masks = np.load(masks, mmap_mode="r") if masks.exists() else None

    def __len__(self) -> int:
        return len(self.features) // self.views

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        row = epoch % self.views * len(self) + index
        masks = None if self.masks is None else torch.from_numpy(self.masks[row].copy())
        features = torch.from_numpy(self.features[row].copy()).float()  # torch converts ten times faster than NumPy
        return Batch(None, torch.from_numpy(self.labels[row].copy()), masks, features)
