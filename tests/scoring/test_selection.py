"""An epoch chosen by true masks: its score against a plain loop, and what a training with it leaves."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.tensors import image_tensor
from pcc.methods.base import Method
from pcc.runtime.errors import InputError
from pcc.scoring.oracle import THRESHOLDS
from pcc.scoring.selection import mask_score

SIDE = 32


class Colours(Method):
    """Maps that are the image's own colours, one for each of three classes; absent classes are zero."""

    def not_asked(self, *args: Any) -> Any:
        raise AssertionError("only maps are asked for")

    parameter_groups = losses = encode = is_encoder_frozen = raw_maps_and_features = to_maps = not_asked

    def localize_in_training(self, images: Tensor, labels: Tensor, phase: str) -> Tensor:
        assert images.shape[1:] == (3, SIDE, SIDE) and phase == "main"
        maps = functional.avg_pool2d(images, 4) * labels[:, :, None, None]
        return torch.cat([torch.ones_like(maps[:, :1]), maps], dim=1)


def plain(results: Any) -> float:
    """Every image at every threshold, class by class."""
    best = 0.0
    for threshold in THRESHOLDS:
        hits, unions = np.zeros(4), np.zeros(4)
        for record in results.data.records[:7]:  # the eighth is not scored
            truth = read_mask(record.mask)
            pooled = functional.avg_pool2d(image_tensor(read_image(record.image), (SIDE, SIDE))[None], 4)
            large = functional.interpolate(pooled, truth.shape, mode="bilinear")[0].numpy()
            absent = [k for k, name in enumerate(results.data.dataset.classes) if name not in record.labels]
            large[absent] = -1
            found = np.where(large.max(axis=0) > np.float32(threshold), 1 + large.argmax(axis=0), 0)
            for k in range(4):
                inside, true = (found == k) & (truth != 255), truth == k
                hits[k] += (inside & true).sum()
                unions[k] += (inside | true).sum()
        best = max(best, float((hits / unions).mean()))
    return best


def test_the_score_is_that_of_a_plain_loop(results: Any) -> None:
    assert mask_score(Colours(), results.data, SIDE)("main") == pytest.approx(plain(results), abs=1e-9)


def test_there_must_be_masks(make_results: Any) -> None:
    with pytest.raises(InputError, match="no training image has one"):
        mask_score(Colours(), make_results(scored=False).data, SIDE)
