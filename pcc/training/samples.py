"""Training samples: images, tags, perhaps masks, resized and varied; the same for the same (seed, epoch, image)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record
from pcc.data.tensors import channels_first
from pcc.ids import IGNORE
from pcc.runtime.errors import InputError
from pcc.trainable import Batch, to_unit_range
from pcc.training.batches import seed_number


class Inside(tv_tensors.Mask):
    """1 on an image's pixels; padding makes it 0."""


# ImageNet's statistics: padding of the mean colour is zero to a normalised network, and noise like its images is unit.
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
MEAN_COLOUR = [round(255 * share) for share in IMAGENET_DEFAULT_MEAN]
PADDING = {tv_tensors.Image: MEAN_COLOUR, tv_tensors.Mask: IGNORE, Inside: 0}


@dataclass(frozen=True)
class Augmentation:
    """How a training image varies.

    Attributes:
        crop: ``none`` squeezes the whole image into the square; ``resized`` takes a part of its area and squeezes
            that; ``random`` scales the image, keeps its shape, and cuts the square out of it (padded where small).
        scale: range of the area's share (``resized``) or of the scale factor (``random``).
        long_side: range of the longer side that ``random`` scales to, pixels, in place of a factor.
        flip: mirror every other time.
        rotate90: by a random multiple of 90°, half the time.
        jitter: strength of brightness, contrast, saturation and hue changes, each half the time; 0: none.
        randaugment: a policy in timm's words, such as ``rand-m9-mstd0.5-inc1``: changes of shape and colour drawn
            from many. Masks would not follow them.
        erase: how often a rectangle is overwritten with noise, as timm does it.

    Raises:
        InputError: a policy that timm does not know.
    """

    crop: Literal["none", "resized", "random"] = "none"
    scale: Sequence[float] = (0.5, 1.0)
    long_side: tuple[int, int] | None = None
    flip: bool = True
    rotate90: bool = False
    jitter: float = 0.0
    randaugment: str | None = None
    erase: float = 0.0

    def __post_init__(self) -> None:
        self.policy()

    def policy(self) -> Any:
        """timm's transform of PIL images; None where there is none."""
        if self.randaugment is None:
            return None
        try:
            return rand_augment_transform(self.randaugment, {"img_mean": tuple(MEAN_COLOUR)})
        except (AssertionError, ValueError) as error:
            raise InputError(
                f"training.augmentation.randaugment: {self.randaugment!r} is no policy of timm's; "
                "write one like rand-m9-mstd0.5-inc1"
            ) from error

    @property
    def views(self) -> int:
        """Number of different results where they can be counted (mirrored or not), else 0."""
        drawn = self.rotate90 or self.jitter or self.randaugment or self.erase
        countable = self.crop == "none" and not drawn
        return (2 if self.flip else 1) if countable else 0


class TrainingSamples(Dataset[Batch]):
    """Samples of `pcc.training.loop.fit`, by (epoch, index); their images are bytes but where noise is erased in.

    Args:
        manifest: for the tags.
        records: the training images.
        image_size: side of the square that the network sees, pixels.
        augmentation: how images vary.
        seed: of the variation.
        masks: mask file by image id, for segmenters; None leaves masks out.

    Raises:
        InputError: a policy that masks cannot follow.
    """

    def __init__(
        self,
        manifest: Manifest,
        records: Sequence[Record],
        image_size: int,
        augmentation: Augmentation,
        seed: int,
        masks: Mapping[str, Path] | None = None,
    ) -> None:
        self.manifest, self.records, self.masks = manifest, list(records), masks
        self.image_size, self.augmentation, self.seed = image_size, augmentation, seed
        self.views = augmentation.views
        self.policy = augmentation.policy()
        if self.policy and masks is not None:
            raise InputError("training.augmentation.randaugment: masks cannot follow it; leave it to methods")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        record = self.records[index]
        pair: dict[str, Any] = {"image": tv_tensors.Image(channels_first(read_image(record.image)))}
        if self.masks is not None:
            pair["mask"] = tv_tensors.Mask(torch.from_numpy(read_mask(self.masks[record.image_id])))
        with _seeded(seed_number(f"{self.seed}/{epoch}/{record.image_id}")):
            pair = self._vary(pair, mirrored=self.augmentation.flip and (epoch + index) % 2 == 1)
            image = pair["image"].as_subclass(torch.Tensor).contiguous()
            if self.augmentation.erase:
                erase = RandomErasing(self.augmentation.erase, mode="pixel", device="cpu")
                image = erase((to_unit_range(image) - MEAN) / STD) * STD + MEAN
        labels = torch.from_numpy(self.manifest.image_labels(record))
        mask = pair["mask"].as_subclass(torch.Tensor) if self.masks is not None else None
        inside = pair["inside"].as_subclass(torch.Tensor) if "inside" in pair else None
        return Batch(image, labels, mask, inside=inside)

    def _vary(self, pair: dict[str, Any], *, mirrored: bool) -> dict[str, Any]:
        how, size = self.augmentation, (self.image_size, self.image_size)
        low, high = how.scale
        if how.crop == "resized":
            pair = v2.RandomResizedCrop(size, scale=(low, high), antialias=True)(pair)
        elif how.crop == "random":
            factor = float(torch.empty(1).uniform_(low, high))
            if how.long_side is not None:
                smallest, largest = how.long_side
                factor = int(torch.randint(smallest, largest + 1, ())) / max(pair["image"].shape[-2:])
            pair = _scale(pair, factor)
            pair["inside"] = Inside(torch.ones(pair["image"].shape[-2:], dtype=torch.uint8))
            pair = v2.RandomCrop(size, pad_if_needed=True, fill=PADDING)(pair)
        elif pair["image"].shape[-2:] != size:
            pair = v2.Resize(size, antialias=True)(pair)
        if mirrored:
            pair = {name: functional.horizontal_flip(value) for name, value in pair.items()}
        if how.rotate90 and torch.rand(()) < 0.5:
            turns = int(torch.randint(1, 4, ()))
            pair = {name: type(value)(torch.rot90(value, turns, (-2, -1))) for name, value in pair.items()}
        if how.jitter:
            pair["image"] = _jitter(pair["image"], how.jitter)
        if self.policy:
            changed = self.policy(Image.fromarray(pair["image"].permute(1, 2, 0).numpy()))
            pair["image"] = tv_tensors.Image(channels_first(np.asarray(changed)))
        return pair


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Every generator that an augmentation draws from, and afterwards as it was."""
    drawn = torch.default_generator.get_state()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm draws from numpy's global one
    try:
        # Not by `torch.manual_seed`, which seeds all devices besides, and takes longer than a crop.
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    finally:
        torch.default_generator.set_state(drawn)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _scale(pair: dict[str, Any], factor: float) -> dict[str, Any]:
    size = [max(1, round(side * factor)) for side in pair["image"].shape[-2:]]
    return v2.Resize(size, antialias=True)(pair)


def _jitter(image: tv_tensors.Image, strength: float) -> tv_tensors.Image:
    changes = {
        "brightness": strength,
        "contrast": strength,
        "saturation": strength,
        "hue": min(0.5, strength / 4),
    }
    for name, value in changes.items():
        if torch.rand(()) < 0.5:
            image = v2.ColorJitter(**{name: value})(image)
    return image
