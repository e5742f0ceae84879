"""Data loaders that are killed: the training ends in one line, and the next run ends like an unbroken one."""

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pcc.runtime.errors import InputError, ProcessLost
from pcc.trainable import Batch, ParameterGroup, Trainable
from pcc.training.batches import Batches, load_batches
from pcc.training.loop import Phase, Recipe, fit

IMAGES, PHASES = 10, [Phase("warmup", 2, 0.1), Phase("main", 3, 0.05)]
LAST = list(Batches(IMAGES, 5, 3, "0/main"))[-1][-1]  # the last sample of all


class Linear(Trainable):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.head.parameters()))]

    def is_encoder_frozen(self, phase: str) -> bool:
        return phase == "warmup"

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        features = self.encode(batch.images) if batch.features is None else batch.features
        return {"loss": nn.functional.binary_cross_entropy_with_logits(self.head(features.mean((2, 3))), batch.labels)}


class Deadly:
    """Something happens to the loader of one sample."""

    views = 2

    def __init__(self, at: tuple[int, int] | None = None, how: str = "") -> None:
        self.at, self.how = at, how

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        if key == self.at:
            if self.how.isdecimal():
                faulthandler.disable()
                os.kill(os.getpid(), int(self.how))
            if self.how == "memory":
                raise MemoryError
            if self.how == "exit":
                os._exit(0)
            raise InputError("a.jpg: damaged; replace it")
        image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(sum(key)))
        return Batch(image, torch.tensor([float(key[1] % 2), 1.0]))


@pytest.fixture(autouse=True)
def _limited() -> Iterator[None]:
    def hang(*_: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not multiprocessing.active_children(), "no loader is left"


def trained(work: Path, samples: Deadly, *, cached: bool) -> dict[str, Tensor]:
    work.mkdir(exist_ok=True)
    model, recipe = Linear(), Recipe(PHASES, 5, checkpoint_every=1, cache_features=cached)
    fit(model, samples, recipe, seed=0, work=work, workers=2)
    return model.state_dict()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[dict[str, Tensor], bytes]]:
    """Weights and losses of a training that nobody disturbs, with and without a cache of features."""
    found = {}
    for cached in (False, True):
        work = tmp_path_factory.mktemp("unbroken")
        found[cached] = (trained(work, Deadly(), cached=cached), (work / "losses.csv").read_bytes())
    return found


@pytest.mark.parametrize(
    ("at", "how", "error", "cached"),
    [
        ((0, 3), "9", ProcessLost, False),
        ((1, 7), "9", ProcessLost, False),
        (LAST, "9", ProcessLost, False),
        ((1, 2), "7", ProcessLost, False),
        ((2, 5), "exit", ProcessLost, False),
        ((0, 0), "memory", MemoryError, False),
        ((1, 4), "input", InputError, False),
        ((0, 0), "9", ProcessLost, True),  # while features are encoded
        ((1, 9), "1", ProcessLost, True),
        ((1, 1), "input", InputError, True),
    ],
)
def test_a_lost_loader_ends_the_training_and_the_next_run_resumes(
    tmp_path: Path, unbroken: Any, at: tuple[int, int], how: str, error: type[Exception], cached: bool
) -> None:
    with pytest.raises(error) as caught:
        trained(tmp_path, Deadly(at, how), cached=cached)
    assert "\n" not in str(caught.value)
    resumed, losses = trained(tmp_path, Deadly(), cached=cached), (tmp_path / "losses.csv").read_bytes()
    assert all(torch.equal(resumed[name], value) for name, value in unbroken[cached][0].items())
    assert losses == unbroken[cached][1]


def test_loaders_end_with_batches_that_nobody_takes() -> None:
    loaded = load_batches(Deadly(), Batches(IMAGES, 5, 50, "0"), 2)
    next(loaded)
    assert len(multiprocessing.active_children()) == 2
    loaded.close()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_processes_share_every_batch(parts: int) -> None:
    whole = list(Batches(IMAGES, 5, 3, "0"))
    shared = zip(*(Batches(IMAGES, 5, 3, "0", part=(number, parts)) for number in range(parts)), strict=True)
    assert [list(chain.from_iterable(batch)) for batch in shared] == whole
