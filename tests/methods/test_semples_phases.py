"""SemPLeS's phases on a toy world: one object colour, one background colour, and a CLIP that sees mean colours."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pcc.methods import semples
from pcc.methods.base import Method
from pcc.methods.semples import SemPLeS, soft_masks
from pcc.runtime.errors import InputError
from pcc.trainable import Batch, ParameterGroup
from pcc.training.loop import Phase, Recipe, fit

COLOURS = {"cat": (1.0, 0.1, 0.2), "boat": (0.9, 0.1, 0.8), "sea": (0.1, 0.3, 1.0), "grass": (0.1, 0.8, 0.2)}
CLASSES = ["cat", "boat"]


class ColourClip:
    """Its space is that of colours: an image is its mean colour, a text the colour of its noun, a word a colour."""

    image_size = 16
    mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    encoded = 0

    def encode_images(self, images: Tensor) -> Tensor:
        ColourClip.encoded += len(images)
        return functional.normalize(images.mean(dim=(2, 3)), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        nouns = [text.removeprefix("a photo of ").removesuffix(".") for text in texts]
        return functional.normalize(torch.tensor([COLOURS[noun] for noun in nouns]), dim=1)

    def encode_prompts(self, prompts: Tensor) -> Tensor:
        return functional.normalize(prompts.mean(dim=1), dim=1)


class Pixels(Method):
    """A map that is a linear function of each pixel's colour; its encoder is a frozen 1 x 1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.backbone: Any = nn.Conv2d(3, 3, 1, bias=False)
        self.backbone.weight.data.copy_(torch.eye(3)[:, :, None, None])
        self.classifier = nn.Conv2d(3, len(CLASSES), 1, bias=False)
        self.classifier.weight.data.copy_(0.3 + 0.1 * torch.rand(len(CLASSES), 3, 1, 1))

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        raise AssertionError("a generator is never asked")

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        raise AssertionError("a generator is never asked")

    def encode(self, images: Tensor) -> Tensor:
        return self.backbone(images)

    def is_encoder_frozen(self, phase: str) -> bool:
        return True

    def raw_maps_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encode(images)
        return self.classifier(features), features


class World:
    """An object of its class's colour in the middle; behind a cat there is sea, behind a boat grass."""

    views = 0

    def __len__(self) -> int:
        return 12

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        index = key[1]
        return Batch(picture(index % 2, index), functional.one_hot(torch.tensor(index % 2), 2).float())


def picture(k: int, seed: int) -> Tensor:
    behind = COLOURS[("sea", "grass")[k]]
    image = torch.tensor(behind)[:, None, None].repeat(1, 16, 16)
    image[:, 4:12, 4:12] = torch.tensor(COLOURS[CLASSES[k]])[:, None, None]
    noise = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return (image + 0.05 * noise).clamp(0, 1)


def batch(*labels: tuple[int, ...]) -> Batch:
    images = torch.stack([picture(y[0] if y else 0, i) for i, y in enumerate(labels)])
    return Batch(images, torch.stack([torch.tensor([float(k in y) for k in range(2)]) for y in labels]))


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> SemPLeS:
    return made(monkeypatch)


def made(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> SemPLeS:
    monkeypatch.setattr(semples, "_built", lambda described, classes: Pixels())
    monkeypatch.setattr(semples, "word_width", lambda name: 3)
    monkeypatch.setattr(semples, "most_words", lambda name: 71)
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"clip_norm": "clip", "prompt_length": 4, "refine_weight": 0.5}
    found = SemPLeS(CLASSES, [], {"name": "colours"}, {"type": "pixels"}, **{**defaults, **settings})
    found.clip = ColourClip()  # type: ignore[assignment]
    return found


def train(method: SemPLeS, work: Path, *phases: str) -> SemPLeS:
    lr = {"match": 0.05, "prompts": 0.1, "refine": 0.05}
    recipe = Recipe([Phase(name, 25, lr.get(name, 0.0)) for name in phases], batch_size=6)
    fit(method, World(), recipe, seed=0, work=work)
    return method


def iou(generator: Method) -> float:
    """Of the soft masks at one half with the objects."""
    given = batch((0,), (1,))
    maps = generator.localize(given.images, given.labels)[[0, 1], [1, 2]]
    found = soft_masks(maps, 16, 1e-4)[:, 0] > 0.5
    truth = torch.zeros(2, 16, 16, dtype=torch.bool)
    truth[:, 4:12, 4:12] = True
    return float((found & truth).sum() / (found | truth).sum())


def iou_matched(method: SemPLeS) -> float:
    generator = copy.deepcopy(method.generator)
    for name, value in zip(method.trained, method.matched, strict=True):
        generator.get_parameter(name).data.copy_(value)
    return iou(generator)


def similarity(method: SemPLeS, generator: Method, mask_epsilon: float = 0.1) -> Tensor:
    """Of each foreground with its class's prompt."""
    given = batch((0,), (1,))
    maps = generator.localize(given.images, given.labels)[[0, 1], [1, 2]]
    v_f = method.clip.encode_images(soft_masks(maps, 16, mask_epsilon) * given.images)
    return functional.cosine_similarity(v_f, method.clip.encode_prompts(method.prompts), dim=1).detach()


@pytest.mark.slow
def test_the_three_phases_do_what_they_are_for(method: SemPLeS, tmp_path: Path) -> None:
    start = copy.deepcopy(method)
    assert iou(method.generator) < 0.6
    train(method, tmp_path / "a", "match")
    assert iou_matched(method) > 0.9
    matched = copy.deepcopy(method)
    train(method, tmp_path / "b", "prompts")
    prompts = method.clip.encode_prompts(method.prompts)
    nouns = list(COLOURS)
    nearest = [nouns[int((method.clip.encode_texts(nouns) @ prompt).argmax())] for prompt in prompts]
    assert nearest == ["sea", "grass"]
    before = similarity(method, method.generator)
    train(method, tmp_path / "c", "refine")
    assert (similarity(method, method.generator) < before - 0.1).all()
    assert iou(method.generator) > iou(start.generator) + 0.3
    # Each phase changed what it trains and nothing else; refine began at the start, not where match had ended.
    frozen = {name for name in start.state_dict() if "backbone" in name}
    for name, value in start.state_dict().items():
        changed = not torch.equal(value, method.state_dict()[name])
        assert changed == (name not in frozen), name
        changed_by_match = not torch.equal(value, matched.state_dict()[name])
        assert changed_by_match == (name.startswith("matched") and name not in frozen), name


@pytest.mark.slow
def test_phases_in_one_run_and_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prompts of an earlier run can be taken over, and refining from them gives what the chain gives."""
    whole = train(made(monkeypatch), tmp_path / "whole", "match", "prompts", "refine")
    first = train(made(monkeypatch), tmp_path / "first", "match", "prompts")
    described = {"model": {"clip": {"name": "colours"}, "prompt_length": 4}}
    second = made(monkeypatch, prompts=described)
    second.start_from({"generator": Pixels().state_dict(), "prompts": first.state_dict()})
    train(second, tmp_path / "second", "refine")
    for name, value in second.generator.state_dict().items():
        torch.testing.assert_close(value, whole.generator.state_dict()[name], msg=name)


def test_one_row_for_every_image_and_class(method: SemPLeS, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    monkeypatch.setattr(semples, "matching_loss", lambda v_f, v_b, t, w: rows.append(len(v_f)) or (v_f * v_b * t).sum())
    ColourClip.encoded = 0
    method.losses(batch((0,), (0, 1), ()), "match")
    assert rows == [3] and ColourClip.encoded == 6, "each masked image is encoded once"
    method.learned.fill_(True)
    method.losses(batch((0, 1)), "refine")
    assert rows == [3, 2] and ColourClip.encoded == 10


def test_prompts_are_learned_from_backgrounds_alone(method: SemPLeS) -> None:
    """Half the images of the other phases go through CLIP; the loss is that of the backgrounds, pair by pair."""
    given = batch((0,), (0, 1))
    ColourClip.encoded = 0
    loss = method.losses(given, "prompts")["prompt"]
    assert ColourClip.encoded == 3
    assert set(method.watched()) == {"background_name", "background_prompt", "name_prompt", "mask_area"}
    loss.backward()
    found, method.prompts.grad = method.prompts.grad, None
    maps = method.localize_in_training(given.images, given.labels, "prompts").detach()
    terms = []
    for image, k in ((0, 0), (1, 0), (1, 1)):
        mask = soft_masks(maps[image, 1 + k][None], 16, 1e-4)[0]
        v_b = method.clip.encode_images(((1 - mask) * given.images[image])[None])[0]
        u, t = method.prompts[k].mean(dim=0), method.clip.encode_texts([f"a photo of {CLASSES[k]}."])[0]
        near, away = (functional.cosine_similarity(u, other, dim=0) for other in (v_b, t))
        terms.append(0.02 * away.log() - near.log())
    by_hand = torch.stack(terms).mean()
    by_hand.backward()
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(found, method.prompts.grad)


@pytest.mark.parametrize("phase", ["match", "prompts", "refine"])
def test_a_batch_without_tags_costs_nothing(method: SemPLeS, phase: str) -> None:
    method.learned.fill_(True)
    names = set(method.losses(batch((0,)), phase))
    losses = method.losses(batch((), ()), phase)
    assert set(losses) == names, "all processes of a training must have the same"
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in method.parameters())


@pytest.mark.parametrize("phase", ["match", "prompts", "refine"])
def test_parts_of_a_batch_weigh_by_their_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phase: str) -> None:
    """Images have two labels, one or none, so that parts of a batch have other numbers of pairs, or no pair."""

    class Uneven(World):
        def __getitem__(self, key: tuple[int, int]) -> Batch:
            index = key[1]
            labels = torch.tensor([(1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)][index % 4])
            return super().__getitem__(key)._replace(labels=labels)

    ends = []
    for parts in (1, 6):
        (work := tmp_path / str(parts)).mkdir()
        method = made(monkeypatch)
        method.learned.fill_(True)
        recipe = Recipe([Phase(phase, 3, 0.05)], 6, parts, optimizer="sgd")
        fit(method, Uneven(), recipe, seed=0, work=work)
        ends.append(method.parameter_groups(phase)[0].parameters)
    assert not all(map(torch.equal, ends[0], made(monkeypatch).parameter_groups(phase)[0].parameters))
    for whole, in_parts in zip(*ends, strict=True):
        torch.testing.assert_close(in_parts, whole, atol=1e-5, rtol=1e-4)


def test_what_is_watched_reaches_the_table(method: SemPLeS, tmp_path: Path) -> None:
    train(method, tmp_path, "match", "prompts")
    header = (tmp_path / "losses.csv").read_text().splitlines()[0]
    assert header == (
        "phase,epoch,step,lr,loss,match,foreground_name,background_name,mask_area,prompt,background_prompt,name_prompt"
    )


def test_masks_by_hand() -> None:
    """2 x 2 to 3 x 3 with corners aligned; range 2, so the highest is 2 / 2.1."""
    masks = soft_masks(torch.tensor([[[1.0, 1], [3, 3]]]), 3, 0.1)
    expected = torch.tensor([[0.0] * 3, [1 / 2.1] * 3, [2 / 2.1] * 3])
    torch.testing.assert_close(masks[0, 0], expected)
    assert (soft_masks(torch.full((1, 2, 2), 0.7), 3, 0.1) == 0).all(), "a flat map shows nothing"


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="name it with after"):
        SemPLeS(CLASSES, [], {"name": "colours"})
    with pytest.raises(InputError, match="clip or prompt_length differs"):
        made(monkeypatch, prompts={"model": {"clip": {"name": "colours"}, "prompt_length": 30}})
    with pytest.raises(InputError, match=r"model\.names: unknown classes dog"):
        made(monkeypatch, names={"dog": "hound"})
    with pytest.raises(InputError, match="unknown phase 'warmup' of semples; allowed: match, prompts, refine"):
        made(monkeypatch).parameter_groups("warmup")
    with pytest.raises(InputError, match=r"model\.prompt_length: 80 tokens; at most 71 fit"):
        made(monkeypatch, prompt_length=80)


def test_refining_needs_prompts_that_were_learned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refine has no learned prompts"):
        train(made(monkeypatch), tmp_path / "a", "refine")
    matched = train(made(monkeypatch), tmp_path / "b", "match")
    second = made(monkeypatch, prompts={"model": {"clip": {"name": "colours"}, "prompt_length": 4}})
    second.start_from({"generator": Pixels().state_dict(), "prompts": matched.state_dict()})
    with pytest.raises(InputError, match="refine has no learned prompts"):
        train(second, tmp_path / "c", "refine")


def test_a_misspelt_phase_is_told_before_the_first_step(method: SemPLeS, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown phase 'refined' of semples; allowed"):
        train(method, tmp_path, "match", "refined")
    assert not (tmp_path / "losses.csv").exists()


def test_recurrent_layers_of_a_generator_stay_able_to_learn(method: SemPLeS) -> None:
    """cuDNN refuses to go backward through them in evaluation mode; they have no dropout of their own."""
    method.generator.recurrent = nn.LSTM(2, 2)
    method.generator.dropout = nn.Dropout()
    method.train()
    assert method.generator.recurrent.training and not method.generator.dropout.training
    method.eval()
    assert not method.generator.recurrent.training
