import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Manifest
from pcc.ids import IGNORE
from pcc.runtime.errors import InputError
from pcc.training.masks import check_training_masks


@pytest.fixture
def manifest(tiny_manifest: Callable[..., Path]) -> Manifest:
    return Manifest.read(tiny_manifest(train=3))


def masks(folder: Path, **values: int) -> dict[str, Path]:
    """A mask for each image id: its value in the upper half, background below."""
    files = {}
    for image_id, value in values.items():
        mask = np.zeros((4, 4), np.uint8)
        mask[:2] = value
        files[image_id] = folder / f"{image_id}.png"
        write_mask(files[image_id], mask)
    return files


def test_the_histogram_is_logged(manifest: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_training_masks(masks(tmp_path, im0=1, im1=2, im2=IGNORE), manifest)
    assert "masks of 3 images: background 50.0%, cat 16.7%, dog 16.7%, ignored 16.7%" in caplog.text
    assert "labelled classes without a pixel in any training mask: boat" in caplog.text


def test_every_mask_with_a_value_that_is_no_class_is_named(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_training_masks(masks(tmp_path, im0=4, im1=2, im2=254), manifest)
    assert [p.split(": ", 1)[1] for p in caught.value.problems] == [
        "invalid value 4; class ids of tiny are 0..3 and 255",
        "invalid value 254; class ids of tiny are 0..3 and 255",
    ]


def test_masks_of_background_alone_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all 2 training masks hold only background"):
        check_training_masks(masks(tmp_path, im0=0, im1=IGNORE), manifest)
