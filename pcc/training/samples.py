"""Training samples: images, labels and masks, augmented deterministically by (seed, epoch, image)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

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
from pcc.runtime.settings import PAIR, Fraction, Name, Pixels, Rule, limits
from pcc.trainable import Batch, to_unit_range
from pcc.training.batches import seed_number


class Inside(tv_tensors.Mask):
    """1 on pixels of the image, 0 on padding."""


# Padding with ImageNet's mean colour is zero after normalisation; erasing noise has unit variance.
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
MEAN_COLOUR = [round(255 * value) for value in IMAGENET_DEFAULT_MEAN]
PADDING = {tv_tensors.Image: MEAN_COLOUR, tv_tensors.Mask: IGNORE, Inside: 0}

ScaleFactor = Annotated[float, limits(ge=0.01, le=10)]
ScaleFactors = Annotated[Sequence[ScaleFactor], limits(min_length=1, max_length=64)]


@dataclass(frozen=True)
class Augmentation:
    """Data augmentation.

    Attributes:
        crop: ``none`` resizes the whole image to the square; ``resized`` is a random resized crop; ``random`` scales
            the image with its aspect ratio, then crops or pads it to the square.
        scale: range of the area fraction (``resized``) or of the scale factor (``random``).
        scale_factors: for ``random``: scale factors to draw from, instead of a range (DeepLab).
        long_side: for ``random``: range of the longer side (pixels), instead of a scale factor.
        flip: horizontal flip in every other epoch.
        rotate90: rotation by a random multiple of 90°, with probability 0.5.
        jitter: strength of brightness, contrast, saturation and hue jitter, each with probability 0.5; 0: none.
        randaugment: RandAugment policy of timm, such as ``rand-m9-mstd0.5-inc1``; not for training on masks.
        erase: probability of timm's random erasing.

    Raises:
        InputError: settings that exclude each other, or an invalid policy.
    """

    crop: Literal["none", "resized", "random"] = "none"
    scale: Annotated[Sequence[ScaleFactor], PAIR, Rule("ordered")] = (0.5, 1.0)
    scale_factors: ScaleFactors | None = None
    long_side: Annotated[Sequence[Pixels], PAIR, Rule("ordered")] | None = None
    flip: bool = True
    rotate90: bool = False
    jitter: Annotated[float, limits(ge=0, le=10)] = 0.0
    randaugment: Name | None = None
    erase: Fraction = 0.0

    def __post_init__(self) -> None:
        if self.crop == "resized" and self.scale[1] > 1:
            raise InputError(
                f"training.augmentation.scale: {list(self.scale)} is not allowed with crop: resized; "
                "a share of the area, at most 1"
            )
        if self.scale_factors is not None and (self.crop != "random" or self.long_side is not None):
            raise InputError("training.augmentation.scale_factors: needs crop: random, and no long_side")
        self.policy()

    def policy(self) -> Any:
        """timm's RandAugment transform of PIL images, if any."""
        if self.randaugment is None:
            return None
        try:
            return rand_augment_transform(self.randaugment, {"img_mean": tuple(MEAN_COLOUR)})
        except (AssertionError, ValueError) as error:
            raise InputError(
                f"training.augmentation.randaugment: invalid policy {self.randaugment!r}; "
                "use one of timm's, such as rand-m9-mstd0.5-inc1"
            ) from error

    @property
    def views(self) -> int:
        """Number of distinct augmented versions of an image (with and without flip); 0 if unlimited."""
        if self.crop != "none" or self.rotate90 or self.jitter or self.randaugment or self.erase:
            return 0
        return 2 if self.flip else 1


class TrainingSamples(Dataset[Batch]):
    """Samples of `pcc.training.loop.fit` by (epoch, index); images are uint8, or float with ``erase``.

    Args:
        manifest: image-level labels.
        records: the training images.
        image_size: side of the square network input, pixels.
        augmentation: data augmentation.
        seed: seed of the augmentation.
        masks: mask file by image id, for segmenters.

    Raises:
        InputError: RandAugment with masks.
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
            raise InputError("training.augmentation.randaugment: not supported with masks; use it for methods only")

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
            if how.scale_factors is not None:
                factor = how.scale_factors[int(torch.randint(len(how.scale_factors), ()))]
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
    """Seed all generators used by augmentations; restore them afterwards."""
    drawn = torch.default_generator.get_state()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm draws from numpy's global one
    try:
        # torch.manual_seed also seeds all devices and takes longer than a crop.
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
    changes = {"brightness": strength, "contrast": strength, "saturation": strength, "hue": min(0.5, strength / 4)}
    for name, value in changes.items():
        if torch.rand(()) < 0.5:
            image = v2.ColorJitter(**{name: value})(image)
    return image
