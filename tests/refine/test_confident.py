import numpy as np
import torch

from pcc.refine.confident import refine

KERNELS = {"gaussian": {"sxy": 1, "weight": 0.1}, "bilateral": {"sxy": 5, "srgb": 5, "weight": 0.1}}


def test_three_kinds_of_pixels() -> None:
    """A class that wins, a class that wins only once the background is halved, and one that never does."""
    image = np.full((8, 12, 3), 90, np.uint8)
    image[:, 4:8], image[:, 8:] = 150, 210
    maps = torch.full((2, 8, 12), 0.6)
    maps[1, :, :4], maps[1, :, 4:8], maps[1, :, 8:] = 0.9, 0.5, 0.1
    refined = refine(image, maps, **KERNELS)
    assert refined.dtype == np.uint8
    assert (refined[:, :4] == 1).all() and (refined[:, 4:8] == 255).all() and (refined[:, 8:] == 0).all()
    sure = refine(image, maps, background_factor=1.0, **KERNELS)
    assert set(np.unique(sure)) == {0, 1}


def test_an_image_without_tags_is_background() -> None:
    refined = refine(np.zeros((5, 6, 3), np.uint8), torch.rand(1, 2, 3), **KERNELS)
    assert refined.shape == (5, 6) and (refined == 0).all()
