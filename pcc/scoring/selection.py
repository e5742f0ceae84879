"""Checkpoint selection on ground-truth masks: an oracle, to compare with papers that do so."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from pcc.artifacts.maps import Maps
from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record
from pcc.data.tensors import image_tensor
from pcc.methods.base import Method
from pcc.metrics import mean_iou
from pcc.runtime.errors import InputError
from pcc.runtime.hardware import device
from pcc.runtime.progress import track
from pcc.scoring.counting import threshold_counts_of
from pcc.scoring.oracle import confusion_by_threshold

IMAGES_AT_A_TIME = 8


def mask_score(method: Method, data: Manifest, image_size: int) -> Callable[[str], float]:
    """A function from phase to mIoU of its maps on the scored training images, at the best threshold.

    Args:
        method: evaluated with its current weights at each call.
        data: the data set.
        image_size: side of the square network input, pixels.

    Raises:
        InputError: no training image has a ground-truth mask.
    """
    scored = [r for r in data.select("train") if r.mask is not None and r.scored]
    if not scored:
        raise InputError("training.phases: select: masks needs ground-truth masks; no training image has one")
    return partial(_score, method, data, scored, image_size)


@torch.inference_mode()
def _score(method: Method, data: Manifest, records: list[Record], image_size: int, phase: str) -> float:
    total: np.ndarray | int = 0
    method.to(device())
    starts = range(0, len(records), IMAGES_AT_A_TIME)
    for start in track(starts, f"score {phase} on ground truth"):
        chosen = records[start : start + IMAGES_AT_A_TIME]
        images = torch.stack([image_tensor(read_image(r.image), (image_size, image_size)) for r in chosen])
        labels = torch.stack([torch.from_numpy(data.image_labels(r)) for r in chosen])
        maps = method.localize_in_training(images.to(device()), labels.to(device()), phase).float().cpu()
        for record, values in zip(chosen, maps, strict=True):
            assert record.mask is not None
            truth, classes = read_mask(record.mask), [0, *data.class_ids(record)]
            maps_of_image = Maps(tuple(classes), values[classes], truth.shape)
            total = total + threshold_counts_of(maps_of_image, truth, data.dataset.num_classes)
    curve = [mean_iou(matrix, data.dataset.eval_ids) for matrix in confusion_by_threshold(np.asarray(total))]
    return max(curve)
