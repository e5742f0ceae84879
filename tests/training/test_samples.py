import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest
from pcc.data.tensors import image_tensor
from pcc.runtime.errors import InputError
from pcc.trainable import to_unit_range
from pcc.training.samples import Augmentation, TrainingSamples


def samples(path: Path, size: int = 32, seed: int = 0, **augmentation: Any) -> TrainingSamples:
    manifest = Manifest.read(path)
    records = manifest.select("train")
    masks = {record.image_id: record.mask for record in records if record.mask}
    return TrainingSamples(manifest, records, size, Augmentation(**augmentation), seed, masks)


def test_the_plain_sample_is_the_image_its_tags_and_its_mask(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(), flip=False)
    record = data.records[1]
    sample = data[0, 1]
    assert torch.equal(sample.images, torch.from_numpy(read_image(record.image).copy()).permute(2, 0, 1))
    torch.testing.assert_close(to_unit_range(sample.images), sample.images / 255)
    assert sample.labels.tolist() == [0, 1, 0]
    assert (sample.masks.numpy() == read_mask(record.mask)).all()


def test_mirroring_takes_turns_and_keeps_image_and_mask_together(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest())
    assert data.views == 2
    even, odd = data[0, 0], data[1, 0]
    torch.testing.assert_close(even.images.flip(-1), odd.images)
    assert torch.equal(even.masks.flip(-1), odd.masks)
    assert torch.equal(data[2, 0].images, even.images)


@pytest.mark.parametrize(
    "augmentation",
    [
        {"crop": "resized", "scale": (0.3, 0.8)},
        {"crop": "random", "scale": (0.5, 1.5)},
        {"rotate90": True, "jitter": 0.4},
        {"erase": 0.5},
    ],
    ids=str,
)
def test_augmentation_is_a_function_of_seed_epoch_and_image(
    tiny_manifest: Callable[..., Path], augmentation: dict[str, Any]
) -> None:
    path = tiny_manifest()
    data, other_seed = samples(path, 24, **augmentation), samples(path, 24, seed=1, **augmentation)
    assert data.views == 0
    first = data[3, 2]
    torch.rand(5)  # what the process drew before does not matter
    assert torch.equal(first.images, data[3, 2].images)
    assert first.images.shape == (3, 24, 24)
    assert first.masks.shape == (24, 24)
    epochs = [data[epoch, 2].images for epoch in range(8)]
    assert any(not torch.equal(epochs[0], image) for image in epochs[1:])
    assert any(not torch.equal(data[e, 2].images, other_seed[e, 2].images) for e in range(8))


def test_geometry_moves_image_and_mask_alike(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(), 32, crop="random", scale=(0.6, 1.4), rotate90=True)
    for epoch in range(6):
        sample = data[epoch, 0]
        images = to_unit_range(sample.images)
        red = (images[0] - images[1]) > 0.3  # class 1 is a red square on grey
        agreement = (red == (sample.masks == 1)).float().mean()
        assert agreement > 0.93
        assert ((sample.masks == 255) <= (images[0] < 0.6)).all(), "padding is ignored"


def test_padding_is_told(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(), 32, crop="random", scale=(0.5, 1.2), rotate90=True)
    for epoch in range(6):
        sample = data[epoch, 0]
        assert torch.equal(sample.inside == 0, sample.masks == 255), "the masks themselves hold no 255"
    assert samples(tiny_manifest(), 32)[0, 0].inside is None


def test_random_crops_may_scale_to_a_length(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(side=48), 32, crop="random", long_side=(16, 16))
    assert all(data[epoch, 0].inside.sum() == 16 * 16 for epoch in range(3))
    varied = samples(tiny_manifest(side=48), 64, crop="random", long_side=(20, 40))
    between = {round(float(varied[epoch, 0].inside.sum()) ** 0.5) for epoch in range(12)}
    assert min(between) >= 20 and max(between) <= 40 and len(between) > 3


def test_random_crops_may_draw_from_a_list_of_scales(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(side=48), 80, crop="random", scale_factors=[0.5, 0.75, 1.0, 1.25, 1.5])
    sides = [round(float(data[epoch, 0].inside.sum()) ** 0.5) for epoch in range(60)]
    assert set(sides) == {24, 36, 48, 60, 72}
    assert min(map(sides.count, set(sides))) >= 4  # 12 expected
    assert [data[epoch, 0].inside.sum() for epoch in range(5)] == [side**2 for side in sides[:5]]


@pytest.mark.parametrize("other", [{"crop": "resized"}, {"crop": "none"}, {"crop": "random", "long_side": (20, 40)}])
def test_a_list_of_scales_is_for_random_crops(other: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="scale_factors: needs crop: random, and no long_side"):
        Augmentation(scale_factors=[0.5, 1.0], **other)


@pytest.mark.parametrize(
    "augmentation",
    [{"crop": "none"}, {"crop": "resized", "scale": (0.2, 0.9)}, {"crop": "random", "scale": (0.4, 1.7)}],
    ids=str,
)
def test_samples_are_those_of_the_plain_way(tiny_manifest: Callable[..., Path], augmentation: dict[str, Any]) -> None:
    """To the bit: how bytes lie in memory, and what is handed on as bytes, changes no pixel."""
    data, size = samples(tiny_manifest(), 40, flip=False, **augmentation), [40, 40]
    record = data.records[0]
    noise = np.random.default_rng(0).integers(0, 256, (57, 83, 3), np.uint8)
    Image.fromarray(noise).save(record.image)
    labels = (noise[..., 0] % 3).astype(np.uint8)
    Image.fromarray(labels).save(record.mask)
    for epoch in range(5):
        pair: Any = {
            "image": tv_tensors.Image(torch.from_numpy(noise.transpose(2, 0, 1).copy())),
            "mask": tv_tensors.Mask(torch.from_numpy(labels)),
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"0/{epoch}/{record.image_id}".encode()))
            if augmentation["crop"] == "none":
                pair = v2.Resize(size, antialias=True)(pair)
            elif augmentation["crop"] == "resized":
                pair = v2.RandomResizedCrop(size, scale=augmentation["scale"], antialias=True)(pair)
            else:
                factor = float(torch.empty(1).uniform_(*augmentation["scale"]))
                pair = v2.Resize([round(57 * factor), round(83 * factor)], antialias=True)(pair)
                fill = {tv_tensors.Image: [124, 116, 104], tv_tensors.Mask: 255}
                pair = v2.RandomCrop(size, pad_if_needed=True, fill=fill)(pair)
        sample = data[epoch, 0]
        assert torch.equal(to_unit_range(sample.images), v2.functional.to_dtype(pair["image"], scale=True))
        assert torch.equal(sample.masks, pair["mask"])
        assert sample.images.dtype == torch.uint8 and sample.images.is_contiguous()


def test_samples_leave_every_generator_as_it_was(tiny_manifest: Callable[..., Path]) -> None:
    data = samples(tiny_manifest(), 24, crop="random", jitter=0.4, erase=0.5)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    data[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_timm_s_policies_are_seeded_too(tiny_manifest: Callable[..., Path]) -> None:
    manifest = Manifest.read(tiny_manifest())
    how = Augmentation(randaugment="rand-m9-mstd0.5-inc1", erase=0.25)
    data = TrainingSamples(manifest, manifest.select("train"), 24, how, 0)
    assert data.views == 0
    first = [data[epoch, 0].images for epoch in range(6)]
    before = random.getstate()
    random.seed(5)
    assert all(torch.equal(image, data[epoch, 0].images) for epoch, image in enumerate(first))
    random.setstate(before)
    assert len({float(image.sum()) for image in first}) > 3


def test_policies_that_cannot_be(tiny_manifest: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="invalid policy 'rand-x9'"):
        Augmentation(randaugment="rand-x9")
    with pytest.raises(InputError, match="not supported with masks"):
        samples(tiny_manifest(), randaugment="rand-m9")


def test_image_tensor_resizes(tiny_manifest: Callable[..., Path]) -> None:
    record = samples(tiny_manifest()).records[0]
    assert image_tensor(read_image(record.image), (16, 48)).shape == (3, 16, 48)
    assert 0 <= image_tensor(read_image(record.image)).min() <= image_tensor(read_image(record.image)).max() <= 1
