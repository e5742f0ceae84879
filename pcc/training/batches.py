"""Batch sampler and data loader."""

import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pcc.trainable import Batch, Samples

LOADERS_AT_MOST = 4


class Batches:
    """Batches of (epoch, index). Each epoch is a new permutation; the last incomplete batch is dropped.

    Args:
        count: number of samples.
        batch_size: samples per batch, at most ``count``.
        epochs: number of epochs.
        seed: seed of the order.
        start: number of batches to skip when resuming.
    """

    drop_last = True

    def __init__(self, count: int, batch_size: int, epochs: int, seed: str, start: int = 0) -> None:
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
                    yield [(epoch, int(i)) for i in chosen]


def batch_loader(samples: Samples, batches: Iterable[list[tuple[int, int]]], workers: int) -> DataLoader[Any]:
    """Data loader over ``batches`` with ``workers`` processes (0: in the main process)."""
    return DataLoader(
        cast(Dataset[Batch], samples),
        batch_sampler=cast(Any, batches),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_yield_to_training,
    )


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


def _yield_to_training(_number: int) -> None:
    """Run loader processes at low priority: a training thread that loses its core delays all others."""
    os.nice(19)
