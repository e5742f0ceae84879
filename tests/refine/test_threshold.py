import numpy as np
import torch

from pcc.refine.threshold import refine


def test_the_strongest_map_wins_where_one_exceeds_the_score() -> None:
    maps = torch.tensor([[[9.0, 9, 9]], [[0.5, 0.3, 0.41]], [[0.6, 0.2, 0.1]]])  # the first is ignored
    assert refine(np.zeros((1, 3, 3), np.uint8), maps, 0.4).tolist() == [[2, 0, 1]]


def test_an_image_without_tags_is_background() -> None:
    assert (refine(np.zeros((4, 6, 3), np.uint8), torch.rand(1, 2, 3)) == 0).all()
