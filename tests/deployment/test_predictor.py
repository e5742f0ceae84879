"""Masks from Python: whatever an image comes as, decoded once, and as the workflow predicts it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.tensors import image_tensor
from pcc.deployment import Predictor
from pcc.deployment.predictor import Prediction
from pcc.models.segmenter import build_segmenter, load_segmenter
from pcc.runtime.errors import InputError
from pcc.stages.segment import segment
from pcc.tools.predict import predict

CRF = {"iterations": 2, "gaussian": {"sxy": 1, "weight": 3}, "bilateral": {"sxy": 9, "srgb": 9, "weight": 3}}
SCALES = [0.5, 1.0, 1.5]


@pytest.fixture
def segmenter(example_models: dict[str, Path]) -> Path:
    return example_models["segmenter"]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng, paths = np.random.default_rng(0), [tmp_path / f"{name}.png" for name in "abc"]
    for path, size in zip(paths, [(32, 48), (32, 48), (40, 24)], strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is decoded; reading a header alone is not."""
    found, load = Counter[str](), Image.Image.load

    def counted(image: Any) -> Any:
        if getattr(image, "filename", "") and image.tile:  # tiles are what is still to be decoded
            found[Path(image.filename).name] += 1
        return load(image)

    monkeypatch.setattr(Image.Image, "load", counted)
    return found


def test_path_image_and_array_give_the_same_mask(segmenter: Path, photos: list[Path]) -> None:
    predictor, path = Predictor.load(segmenter), photos[0]
    with Image.open(path) as image:
        masks = [predictor(given) for given in (path, str(path), image, read_image(path))]
    assert masks[0].shape == (32, 48) and masks[0].dtype == np.uint8
    assert all((mask == masks[0]).all() for mask in masks)


def test_an_image_on_its_side_is_turned(segmenter: Path, photos: list[Path]) -> None:
    with Image.open(photos[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(photos[1], exif=exif)
    with Image.open(photos[1]) as image:
        assert Predictor.load(segmenter)(image).shape == Predictor.load(segmenter)(photos[1]).shape == (48, 32)


def test_probabilities_are_the_mean_over_scales_and_flips(segmenter: Path, photos: list[Path]) -> None:
    predictor = Predictor.load(segmenter, scales=SCALES, flip=True)
    mask, probabilities = predictor(photos[2], probabilities=True)
    network, image, seen = load_segmenter(segmenter), read_image(photos[2]), []
    for scale in SCALES:
        view = image_tensor(image, (round(40 * scale), round(24 * scale)))[None]
        for flipped in (False, True):
            out = network(view.flip(-1) if flipped else view).softmax(1)
            out = out.flip(-1) if flipped else out
            seen.append(functional.interpolate(out, (40, 24), mode="bilinear", align_corners=False)[0])
    np.testing.assert_allclose(probabilities, torch.stack(seen).mean(0).numpy(), atol=1e-5)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(mask, probabilities.argmax(0))


@pytest.mark.parametrize("flip", [False, True])
def test_maximum_merges_the_logits_of_all_scales_on_the_finest_grid(photos: list[Path], flip: bool) -> None:
    torch.manual_seed(0)
    network = build_segmenter("light_head", 4, {"backbone": {"name": "test_resnet"}, "width": 8}).eval()
    network.head[-1].weight.data.mul_(1000)  # else all pixels have nearly the same probabilities
    predictor = Predictor(network, Prediction(scales=SCALES, flip=flip, merge="maximum"), "0123")
    mask, probabilities = predictor(photos[2], probabilities=True)
    image, seen = read_image(photos[2]), []
    for scale in reversed(SCALES):
        view = image_tensor(image, (round(40 * scale), round(24 * scale)))[None]
        seen += [network(view).detach(), *([network(view.flip(-1)).detach().flip(-1)] if flip else [])]
    grid = seen[0].shape[-2:]
    assert seen[-1].shape[-2:] != grid
    full = [functional.interpolate(logits, grid, mode="bilinear", align_corners=False).numpy() for logits in seen]
    highest = np.full_like(full[0], -np.inf)
    for logits in full:
        for cell in np.ndindex(highest.shape):
            highest[cell] = max(highest[cell], logits[cell])
    large = functional.interpolate(torch.from_numpy(highest), (40, 24), mode="bilinear", align_corners=False)[0].numpy()
    exponentials = np.exp(large)
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(0), atol=1e-5)
    np.testing.assert_array_equal(mask, large.argmax(0))
    averaged = Predictor(network, Prediction(scales=SCALES, flip=flip), "0123")(photos[2], probabilities=True)[1]
    assert np.abs(averaged - probabilities).max() > 0.01


def test_several_images_give_what_each_gives_alone(segmenter: Path, photos: list[Path]) -> None:
    predictor = Predictor.load(segmenter, crf=CRF)
    together = predictor(photos, probabilities=True)
    for path, (mask, probabilities) in zip(photos, together, strict=True):
        alone = predictor(path, probabilities=True)
        np.testing.assert_allclose(probabilities, alone[1], atol=1e-4)
        assert (mask == alone[0]).mean() > 0.99


def test_unknown_settings_and_arrays_of_another_kind_are_refused(segmenter: Path) -> None:
    with pytest.raises(InputError, match="unknown setting 'scale'; allowed: image_size, scales, flip, merge, crf"):
        Predictor.load(segmenter, scale=2)
    with pytest.raises(InputError, match=r"array float32 \(3, 8, 8\); it must be uint8 \[H, W, 3\]"):
        Predictor.load(segmenter)(np.zeros((3, 8, 8), np.float32))


def test_every_image_is_decoded_once(
    segmenter: Path, photos: list[Path], tiny_manifest: Any, tmp_path: Path, opened: Counter[str]
) -> None:
    manifest = tiny_manifest(train=1, val=3)
    opened.clear()
    segment(manifest, segmenter, tmp_path / "out", shard="000", scales=SCALES, crf=CRF)
    assert opened == {f"im{number}.png": 1 for number in (1, 2, 3)}
    opened.clear()
    predict(segmenter, [str(path) for path in photos], tmp_path / "predicted", scales=SCALES, crf=True)
    assert opened == {path.name: 1 for path in photos}


@pytest.mark.parametrize("merge", ["mean", "maximum"])
def test_the_workflow_predicts_what_python_does(
    segmenter: Path, tiny_manifest: Any, tmp_path: Path, merge: str
) -> None:
    settings: dict[str, Any] = {"scales": [0.5, 1.0], "flip": False, "merge": merge, "crf": CRF}
    segment(tiny_manifest(), segmenter, tmp_path / "out", shard="000", **settings)
    predictor = Predictor.load(segmenter, **settings)
    for mask in (tmp_path / "out").glob("*.png"):
        np.testing.assert_array_equal(predictor(tmp_path / f"data/images/{mask.name}"), read_mask(mask))
