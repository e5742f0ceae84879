"""Batch sampler and data loader."""

import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from pcc.runtime.parallel import work_ahead
from pcc.trainable import Batch, Samples

Keys = Sequence[tuple[int, int]]

LOADERS_AT_MOST = 4
AHEAD = 2  # batches per loader process
LOW_PRIORITY = 19


class Batches:
    """Batches of (epoch, index). Each epoch is a new permutation; the last incomplete batch is dropped.

    Args:
        count: number of samples.
        batch_size: samples per batch, at most ``count``.
        epochs: number of epochs.
        seed: seed of the order.
        start: number of batches to skip when resuming.
        part: which of equal parts of every batch this process sees, and of how many.
    """

    def __init__(
        self, count: int, batch_size: int, epochs: int, seed: str, start: int = 0, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.part = part
        self.count, self.epochs, self.seed, self.start = count, epochs, seed, start
        self.batch_size = min(batch_size, count)
        self.per_epoch = count // self.batch_size
        self.total = self.per_epoch * epochs

    def __len__(self) -> int:
        return self.total - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.start // self.per_epoch, self.epochs):
            order = np.random.default_rng(seed_number(f"{self.seed}/{epoch}")).permutation(self.count)
            for step in range(self.per_epoch):
                if epoch * self.per_epoch + step >= self.start:
                    chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
                    number, parts = self.part
                    own = slice(number * len(chosen) // parts, (number + 1) * len(chosen) // parts)
                    yield [(epoch, int(i)) for i in chosen[own]]


def load_batches(samples: Samples, batches: Iterable[Keys], workers: int) -> Generator[Batch, None, None]:
    """The samples of each of ``batches``, stacked, by ``workers`` loader processes (0: in the main process).

    Loaders have low priority: a training thread that loses its core delays all others.

    Raises:
        ProcessLost: a loader was killed.
    """
    load = partial(_load, samples)
    if workers == 0:
        yield from map(load, batches)
    else:
        yield from work_ahead(load, batches, workers, ahead=AHEAD, name="a data loader", niceness=LOW_PRIORITY)


def loader_processes(threads: int) -> int:
    """Number of loader processes: one per thread, at low priority, none for a single thread.

    One process less doubled the overhead of loading on two cores, from 4 % to 8 % (benchmarks/image_pipeline.py).
    """
    return min(threads, LOADERS_AT_MOST) if threads > 1 else 0


def collate(samples: list[Batch]) -> Batch:
    """Stack samples; fields that are None in the first are None in all."""
    stacked: list[Any] = [None if column[0] is None else torch.stack(column) for column in zip(*samples, strict=True)]
    return Batch(*stacked)


def seed_number(text: str) -> int:
    """A seed from text, by crc32: unlike ``hash``, it is the same in every process and version."""
    return zlib.crc32(text.encode())


def _load(samples: Samples, keys: Keys) -> Batch:
    return collate([samples[key] for key in keys])
