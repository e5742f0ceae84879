import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pcc.artifacts import tensors
from pcc.runtime.errors import InputError
from pcc.trainable import Batch, ParameterGroup, Trainable
from pcc.training import loop as training
from pcc.training.batches import loader_processes
from pcc.training.checkpoints import CHECKPOINT
from pcc.training.loop import Phase, Recipe, fit


class Linear(Trainable):
    """A 'frozen' encoder and a head, with dropout so that the step's own randomness matters."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)
        self.dropout = nn.Dropout(dropout)
        self.encoded = 0

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        head = ParameterGroup(list(self.head.parameters()))
        return [head] if phase == "warmup" else [head, ParameterGroup(list(self.encoder.parameters()), lr_scale=0.1)]

    def is_encoder_frozen(self, phase: str) -> bool:
        return phase == "warmup"

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return self.encoder(images)

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        features = self.encode(batch.images) if batch.features is None else batch.features
        scores = self.head(self.dropout(features.mean(dim=(2, 3))))
        return {"classification": nn.functional.binary_cross_entropy_with_logits(scores, batch.labels)}


class Noise:
    views = 2

    def __len__(self) -> int:
        return 10

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(index))
        return Batch(image.flip(-1) if epoch % 2 else image, torch.tensor([float(index % 2), 1.0]))


RECIPE = Recipe([Phase("warmup", 2, 0.1), Phase("train", 3, 0.05, "poly")], batch_size=4, checkpoint_every=1)


class Killed(Exception):
    pass


def weights_after(work: Path, recipe: Recipe = RECIPE, seed: int = 0) -> dict[str, Tensor]:
    model = Linear()
    fit(model, Noise(), recipe, seed=seed, work=work)
    return model.state_dict()


@pytest.mark.parametrize(("optimizer", "accumulate"), [("adamw", 1), ("sgd", 1), ("adamw", 2)])
@pytest.mark.parametrize("kill_at", [1, 3, 4, 7])
def test_a_killed_run_ends_like_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int, optimizer: str, accumulate: int
) -> None:
    recipe = Recipe(RECIPE.phases, 4, accumulate, optimizer=optimizer, checkpoint_every=2)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    unbroken = weights_after(tmp_path / "a", recipe)
    steps = 0
    step = training._Run._step

    def killing_step(*args: object) -> tuple[dict[str, float], dict[str, float]]:
        nonlocal steps
        steps += 1
        if steps == kill_at + 1:
            raise Killed
        return step(*args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training._Run, "_step", killing_step)
        weights_after(tmp_path / "b", recipe)
    resumed = weights_after(tmp_path / "b", recipe)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert (tmp_path / "a/losses.csv").read_text() == (tmp_path / "b/losses.csv").read_text()


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        runs.append(weights_after(tmp_path / name, seed=seed)["head.weight"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_phase_trains_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    start = Linear().state_dict()
    after = weights_after(tmp_path, Recipe(RECIPE.phases[:1], 4))
    assert torch.equal(start["encoder.weight"], after["encoder.weight"])
    assert not torch.equal(start["head.weight"], after["head.weight"])


def test_cached_features_encode_once_and_agree_with_encoding_every_step(tmp_path: Path) -> None:
    results = []
    for cached in (False, True):
        work = tmp_path / str(cached)
        work.mkdir()
        model = Linear()
        fit(model, Noise(), Recipe([Phase("warmup", 6, 0.1)], 5, cache_features=cached), seed=0, work=work)
        results.append((model.encoded, model.head.weight))
    assert results[0][0] == 6 * 10
    assert results[1][0] == 2 * 10, "two views of ten images, once each"
    torch.testing.assert_close(results[0][1], results[1][1], atol=2e-3, rtol=0)  # the cache is fp16


@pytest.mark.parametrize("cached", [False, True])
def test_bytes_reach_the_model_as_shares(tmp_path: Path, cached: bool) -> None:
    class Bytes(Noise):
        def __getitem__(self, key: tuple[int, int]) -> Batch:
            sample = super().__getitem__(key)
            return sample._replace(images=(sample.images * 255).round().to(torch.uint8))

    class Shares(Bytes):
        def __getitem__(self, key: tuple[int, int]) -> Batch:
            sample = super().__getitem__(key)
            return sample._replace(images=sample.images.to(torch.float32).mul_(1 / 255))

    heads = []
    for number, samples in enumerate((Bytes(), Shares())):
        (work := tmp_path / str(number)).mkdir()
        model = Linear()
        fit(model, samples, Recipe([Phase("warmup", 2, 0.1)], 5, cache_features=cached), seed=0, work=work)
        heads.append(model.head.weight)
    assert torch.equal(*heads)


@pytest.mark.parametrize("cached", [False, True])
def test_loader_processes_change_no_weight(tmp_path: Path, cached: bool) -> None:
    heads = []
    for workers in (0, loader_processes(2)):
        (work := tmp_path / str(workers)).mkdir()
        model, recipe = Linear(), Recipe([Phase("warmup", 3, 0.1)], 3, cache_features=cached)
        fit(model, Noise(), recipe, seed=0, work=work, workers=workers)
        heads.append(model.head.weight)
    assert torch.equal(*heads)


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("cached", [False, True])
def test_a_batch_in_parts_trains_as_the_whole(tmp_path: Path, cached: bool, clip_norm: float | None) -> None:
    """Weights and logged losses are those of the whole batch; so is the norm that is clipped."""
    ends, losses = [], []
    for parts in (1, 4):
        (work := tmp_path / str(parts)).mkdir()
        sizes, model = [], Linear(dropout=0.0)
        model.head.register_forward_hook(lambda _m, given, _out, sizes=sizes: sizes.append(len(given[0])))
        phases = [Phase("warmup", 2, 0.1), Phase("train", 3, 0.1)]
        recipe = Recipe(phases, 8, parts, optimizer="sgd", clip_norm=clip_norm, cache_features=cached)
        fit(model, Noise(), recipe, seed=0, work=work)
        assert sizes == [8 // parts] * (5 * parts)
        ends.append(model.state_dict())
        with (work / "losses.csv").open(newline="") as file:
            losses.append([float(row["classification"]) for row in csv.DictReader(file)])
    assert not torch.equal(ends[0]["head.weight"], Linear().head.weight)
    for name, whole in ends[0].items():
        torch.testing.assert_close(ends[1][name], whole, atol=1e-6, rtol=0)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(("size", "share"), [(6, 6), (64, 10)])  # a batch holds at most all images
def test_parts_that_are_not_equal_are_refused(tmp_path: Path, size: int, share: int) -> None:
    with pytest.raises(InputError, match=f"training.accumulate: 4 must divide the {share} images of a batch;") as found:
        fit(Linear(), Noise(), Recipe([Phase("warmup", 1, 0.1)], size, 4), seed=0, work=tmp_path)
    assert "\n" not in str(found.value)


def test_losses_are_logged_for_every_step(tmp_path: Path) -> None:
    weights_after(tmp_path)
    lines = (tmp_path / "losses.csv").read_text().splitlines()
    assert lines[0] == "phase,epoch,step,lr,loss,classification"
    assert [line.split(",")[0] for line in lines[1:]] == ["warmup"] * 4 + ["train"] * 6
    assert [int(line.split(",")[2]) for line in lines[1:]] == list(range(10))


def test_a_phase_may_have_a_batch_size_of_its_own(tmp_path: Path) -> None:
    weights_after(tmp_path, Recipe([Phase("warmup", 2, 0.1, batch_size=2), Phase("train", 2, 0.1)], 5))
    rows = [line.split(",")[:2] for line in (tmp_path / "losses.csv").read_text().splitlines()[1:]]
    assert rows == [["warmup", str(e)] for e in (0, 1) for _ in range(5)] + [
        ["train", str(e)] for e in (0, 1) for _ in range(2)
    ]


def test_the_best_epoch_by_masks_is_taken_even_after_a_kill(tmp_path: Path) -> None:
    """Scores rise and fall; a run that is killed after the best epoch still ends with it."""
    scores, seen = iter([0.2, 0.9, 0.5, 0.7]), []
    model = Linear()

    def score(phase: str) -> float:
        assert phase == "warmup" and not model.training
        seen.append(model.head.weight.detach().clone())
        if len(seen) == 4 and model.head.weight.requires_grad:
            raise Killed
        return next(scores)

    recipe = Recipe([Phase("warmup", 4, 0.1, select="masks")], 5, checkpoint_every=2)
    with pytest.raises(Killed):
        fit(model, Noise(), recipe, seed=0, work=tmp_path, score=score)
    again = iter([0.7])
    model = Linear()
    fit(model, Noise(), recipe, seed=0, work=tmp_path, score=lambda phase: next(again))
    assert torch.equal(model.head.weight, seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_masks_cannot_choose_where_nothing_scores(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="warmup: 'select: masks' is for methods only"):
        fit(Linear(), Noise(), Recipe([Phase("warmup", 1, 0.1, select="masks")], 5), seed=0, work=tmp_path)


def test_learning_rate_schedules() -> None:
    assert Phase("p", 1, 2.0, "constant").lr_at(7, 10) == 2.0
    assert Phase("p", 1, 2.0, "cosine").lr_at(5, 10) == pytest.approx(1.0)
    assert Phase("p", 1, 2.0, "poly").lr_at(5, 10) == pytest.approx(2 * 0.5**0.9)


def test_the_learning_rate_rises_before_it_falls_to_its_minimum() -> None:
    """Ten epochs of two steps; the first two epochs rise."""
    cosine = Phase("p", 10, 2.0, "cosine", ramp_epochs=2, min_lr=0.5)
    assert [cosine.lr_at(step, 20) for step in range(5)] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert cosine.lr_at(12, 20) == pytest.approx(1.25)
    assert cosine.lr_at(20, 20) == pytest.approx(0.5)
    poly = Phase("p", 10, 2.0, "poly", ramp_epochs=2, min_lr=0.5)
    assert poly.lr_at(12, 20) == pytest.approx(0.5 + 1.5 * 0.5**0.9)
    assert Phase("p", 10, 2.0, "constant", min_lr=0.5).lr_at(19, 20) == 2.0
    assert [Phase("p", 1, 2.0, ramp_epochs=1).lr_at(step, 4) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]


def test_rates_that_cannot_be_are_one_line() -> None:
    with pytest.raises(InputError, match=r"training.phases: main: ramp_epochs, 5, must be at most epochs, 4"):
        Phase("main", 4, 0.1, ramp_epochs=5)
    with pytest.raises(InputError, match=r"training.phases: main: min_lr, 0.2, must be at most lr, 0.1"):
        Phase("main", 4, 0.1, min_lr=0.2)


def test_divergence_is_one_clear_line(tmp_path: Path) -> None:
    class Broken(Linear):
        def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
            return {"classification": super().losses(batch, phase)["classification"] * float("nan")}

    with pytest.raises(InputError, match="training diverged in phase warmup, step 0"):
        fit(Broken(), Noise(), RECIPE, seed=0, work=tmp_path)


def test_checkpoint_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_after(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def half(values: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(tensors, "save_file", half)
    model = Linear()
    with pytest.raises(Killed):
        fit(model, Noise(), Recipe([*RECIPE.phases, Phase("more", 1, 0.1)], 4), seed=0, work=tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe([Phase("train", 1, 1e30)], 10, optimizer="sgd"),  # the only step: its loss was still finite
        Recipe([Phase("warmup", 1, 1e38), Phase("train", 1, 1e-3)], 10, optimizer="sgd"),
        Recipe([Phase("train", 1, 0.1)], 10, clip_norm=float("nan")),
    ],
)
def test_weights_that_are_not_finite_end_the_training_at_the_end_of_their_phase(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(InputError, match=rf"diverged in phase {recipe.phases[0].name}.*lower the learning rate"):
        fit(Steep(), Noise(), recipe, seed=0, work=tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


class Steep(Linear):
    """Its gradient overflows a float32 weight at an absurd learning rate."""

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        return {name: 1e10 * value for name, value in super().losses(batch, phase).items()}


def test_a_buffer_that_is_not_finite_is_noticed_too(tmp_path: Path) -> None:
    class Drifting(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("running", torch.zeros(2))

        def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
            self.running.fill_(float("inf"))
            return super().losses(batch, phase)

    with pytest.raises(InputError, match="first running"):
        fit(Drifting(), Noise(), RECIPE, seed=0, work=tmp_path)


@pytest.mark.parametrize("phases", [[], [Phase("train", 0, 0.1)], [Phase("warmup", 2, 0.1), Phase("train", -1, 0.1)]])
def test_a_training_without_steps_is_refused(tmp_path: Path, phases: list[Phase]) -> None:
    with pytest.raises(InputError, match="training: no steps"):
        fit(Linear(), Noise(), Recipe(phases, 4), seed=0, work=tmp_path)


def test_a_cache_of_nothing_is_refused(tmp_path: Path) -> None:
    class Varied(Noise):
        views = 0

    never_frozen = Recipe([Phase("train", 1, 0.1)], 4, cache_features=True)
    with pytest.raises(InputError, match="no phase has a frozen encoder"):
        fit(Linear(), Noise(), never_frozen, seed=0, work=tmp_path)
    with pytest.raises(InputError, match="every epoch augments"):
        fit(Linear(), Varied(), Recipe([Phase("warmup", 1, 0.1)], 4, cache_features=True), seed=0, work=tmp_path)
