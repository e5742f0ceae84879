"""Train a CLIP of a few million numbers on drawn, captioned scenes: the judge of the SemPLeS demo.

    python benchmarks/miniature_clip/train.py results/miniature-clip.safetensors

Every scene shows an object of any class in any place, or one of them alone; its caption says which. What is not shown
has the mean colour, behind a soft edge or a hard one, as where SemPLeS masks an image. So this CLIP, unlike the demo's
classifier, has seen classes and places apart. Minutes on two CPU cores; offline.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.nn import functional

from pcc.readers import shapes

TOWERS = Path(__file__).with_name("miniature-clip.json")
SCENE = shapes.Scene(96, (1, 1), (0.18, 0.28), 0.0, 0, 0.03)
NAMES = tuple(name.replace("_", " ") for name in shapes.CLASSES)
PLACES = tuple(shapes.PLACES)
PLAIN = np.round(255 * np.array(IMAGENET_DEFAULT_MEAN))  # what masked-out pixels look like
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
UNSEEN = 500  # scenes, drawn from another seed


class Drawn(NamedTuple):
    """A scene: uint8 [3, S, S], what a caption says of it, and what is in it (None: nothing)."""

    image: Tensor
    caption: str
    name: str | None
    place: str | None


def scene(rng: np.random.Generator) -> Drawn:
    """Any class in any place; a fifth each: place, place with a hole, object alone, both named, object named."""
    place = PLACES[rng.integers(len(PLACES))]
    kind = rng.random()
    if kind < 0.2:
        picture = shapes.PLACES[place](SCENE.image_size, rng)
        return Drawn(_tensor(255 * picture.clip(0, 1)), f"a photo of {place}.", None, place)
    image, mask = shapes.draw(dataclasses.replace(SCENE, place=place), rng)
    name = NAMES[int(mask.max()) - 1]
    soft = gaussian_filter((mask > 0).astype(float), rng.uniform(0, 5))[..., None]
    if kind < 0.4:
        return Drawn(_tensor((1 - soft) * image + soft * PLAIN), f"a photo of {place}.", None, place)
    if kind < 0.6:
        return Drawn(_tensor(soft * image + (1 - soft) * PLAIN), f"a photo of {name}.", name, None)
    caption = f"a photo of {name} on {place}." if kind < 0.8 else f"a photo of {name}."
    return Drawn(_tensor(image), caption, name, place)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.uint8)).permute(2, 0, 1).contiguous()


def prepare(images: Tensor, size: int) -> Tensor:
    """uint8 [B, 3, S, S] as CLIP takes them."""
    small = functional.interpolate(images / 255, size, mode="bilinear", antialias=True)
    return (small - MEAN) / STD


def contrast(image: Tensor, text: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss, but for captions that a batch holds several times: all their images are right answers."""
    logits = scale * image @ text.T
    same = (captions[:, None] == captions[None]).float()
    shares = same / same.sum(dim=1, keepdim=True)
    return (functional.cross_entropy(logits, shares) + functional.cross_entropy(logits.T, shares)) / 2


@torch.no_grad()
def accuracy(model: Any, tokenizer: Any, scenes: list[Drawn], question: str, answers: tuple[str, ...]) -> str:
    """How often the right class or place is the nearest of all."""
    asked = [s for s in scenes if getattr(s, question) is not None]
    features = model.encode_image(prepare(torch.stack([s.image for s in asked]), model.visual.image_size))
    texts = model.encode_text(tokenizer([f"a photo of {answer}." for answer in answers]))
    nearest = (features @ functional.normalize(texts, dim=1).T).argmax(dim=1)
    right = np.mean([answers[i] == getattr(s, question) for i, s in zip(nearest.tolist(), asked, strict=True)])
    return f"{question} of {len(asked)} unseen scenes: {right:.0%} right ({1 / len(answers):.0%} by chance)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="safetensors file to write")
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.monotonic()
    torch.manual_seed(given.seed)
    open_clip.add_model_config(TOWERS)
    model = open_clip.create_model(TOWERS.stem)
    tokenizer = open_clip.get_tokenizer(TOWERS.stem)
    drawn = [scene(np.random.default_rng([given.seed, i])) for i in range(given.scenes)]
    captions = sorted({s.caption for s in drawn})
    ids = torch.tensor([captions.index(s.caption) for s in drawn])
    images, tokens = torch.stack([s.image for s in drawn]), tokenizer(captions)
    print(f"{given.scenes} scenes in {time.monotonic() - started:.0f} s; {len(captions)} captions")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, given.steps, pct_start=0.1)
    for step in range(given.steps):
        chosen = torch.randint(given.scenes, (given.batch_size,))
        pixels = prepare(images[chosen], model.visual.image_size)
        if step % 2:
            pixels = pixels.flip(-1)
        features = functional.normalize(model.encode_image(pixels), dim=1)
        texts = functional.normalize(model.encode_text(tokens), dim=1)[ids[chosen]]
        loss = contrast(features, texts, ids[chosen], model.logit_scale.exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        model.logit_scale.data.clamp_(0, np.log(100))
        if step % 100 == 0 or step + 1 == given.steps:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
    model.eval()
    unseen = [scene(np.random.default_rng([given.seed + 1, i])) for i in range(UNSEEN)]
    print(accuracy(model, tokenizer, unseen, "name", NAMES))
    print(accuracy(model, tokenizer, unseen, "place", PLACES))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, given.output)


if __name__ == "__main__":
    main()
