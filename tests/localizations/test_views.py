"""Views as Pillow makes them, and the grid that maps end on."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pcc.localizations.affinity import Localization as Affinity
from pcc.localizations.cam import Localization
from pcc.localizations.iscam import Localization as Prototypes
from pcc.methods.base import Method
from pcc.methods.loading import load_method

LABELS = torch.tensor([[1.0, 0.0]])


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((96, 72), Image.Resampling.BILINEAR)


def tensor_of(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())[None] / 255


def method() -> Method:
    torch.manual_seed(0)
    return load_method(
        "cam", ["cat", "dog"], [], {"backbone": {"name": "test_resnet", "settings": {"output_stride": 8}}}
    ).eval()


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_views_are_pillow_s(picture: Image.Image, scale: float) -> None:
    view = Localization(method())._scaled(tensor_of(picture), scale)
    by_pillow = picture.resize((round(96 * scale), round(72 * scale)), Image.Resampling.BICUBIC)
    levels = (view - tensor_of(by_pillow)).abs() * 255
    assert levels.max() <= 2 and levels.mean() < 0.05  # where rounding falls the other way


def test_maps_lie_on_the_grid_of_the_largest_scale_wherever_it_stands(picture: Image.Image) -> None:
    images = tensor_of(picture)
    for scales in ((1.0, 0.5, 2.0), (2.0, 1.0, 0.5)):
        for kind in (Localization, Prototypes):
            assert kind(method(), scales=scales)(images, LABELS).shape == (1, 3, 18, 24)
    assert Affinity(method(), scales=(1.0, 2.0))(images, LABELS).shape == (1, 3, 9, 12)  # its features'


def test_a_stride_sets_the_grid(picture: Image.Image) -> None:
    for kind in (Localization, Prototypes, Affinity):
        assert kind(method(), scales=(1.0, 0.5), stride=5)(tensor_of(picture), LABELS).shape == (1, 3, 15, 20)


def test_a_finer_grid_decides_as_the_image_s_own_size_does(picture: Image.Image) -> None:
    """Against maps made at every pixel: the grid of scale 2 is nearer than that of scale 1."""
    images, labels = tensor_of(picture), torch.ones(1, 2)

    def decided(stride: int | None) -> Tensor:
        maps = Localization(method(), scales=(1.0, 0.5, 1.5, 2.0), stride=stride)(images, labels)
        return torch.nn.functional.interpolate(maps, (72, 96), mode="bilinear").argmax(dim=1)

    agree = {stride: float((decided(stride) == decided(1)).float().mean()) for stride in (8, None)}
    assert agree[8] < agree[None]
