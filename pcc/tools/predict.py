"""Tool `predict`: photos → masks, overlays and COCO results, by an exported model or a segmenter of the results."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from pcc.artifacts.masks import write_mask
from pcc.artifacts.provenance import write_provenance
from pcc.data import image_ids as ids
from pcc.data.images import read_image
from pcc.deployment.coco_results import CocoResults, Entry, entries
from pcc.deployment.onnx import OnnxNetwork
from pcc.deployment.package import ONNX, Model, open_model
from pcc.deployment.photos import Photo, find_photos
from pcc.deployment.predictor import Network, Views, class_probabilities, sharpened
from pcc.figures.pictures import overlay
from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path
from pcc.runtime.hardware import Precision
from pcc.runtime.hardware import device as best_device
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import duration, log, track

VOC_TEST = Path("results/VOC2012/Segmentation/comp6_test_cls")
VOC_CLASSES = 21
# DeepLab's, for models whose experiment had none: sxy in pixels, srgb in 0-255 colour units.
USUAL_CRF: dict[str, Any] = {
    "iterations": 10,
    "gaussian": {"sxy": 1, "weight": 3},
    "bilateral": {"sxy": 67, "srgb": 3, "weight": 4},
}


@dataclass(frozen=True)
class Outputs:
    """Where the results of each image go.

    Attributes:
        folder: all lies below it.
        voc_test: masks alone, in the layout of VOC's evaluation server.
    """

    folder: Path
    voc_test: bool

    def mask(self, image_id: str) -> Path:
        return self.folder / (VOC_TEST if self.voc_test else "masks") / f"{image_id}.png"

    def overlay(self, image_id: str) -> Path:
        return self.folder / "overlays" / f"{image_id}.jpg"


@dataclass(frozen=True)
class Done:
    """One image's results, or the line that says why there are none."""

    photo: Photo
    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    found: Sequence[Entry] = ()


def predict(
    model: Path,
    images: Sequence[str],
    output: Path,
    *,
    voc_test: bool = False,
    engine: Literal["torch", "onnx"] = "torch",
    scales: Sequence[float] | None = None,
    flip: bool | None = None,
    crf: bool | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    skip_existing: bool = False,
    threads: int = 1,
    code: str = "",
) -> int:
    """Predict photos as the workflow predicts the validation images.

    Args:
        model: folder of `pcc export`, or a segmenter's folder in results.
        images: files, folders and patterns.
        output: folder for masks/, overlays/, predictions.json, images.json and provenance.json.
        voc_test: write masks alone, in the layout of VOC's evaluation server.
        engine: what computes: PyTorch, or onnxruntime on the CPU (exported models with a model.onnx).
        scales: sizes of the views, as factors; None: as the experiment had them.
        flip: whether each view is also seen mirrored; None: as the experiment had it.
        crf: whether masks are sharpened to colour edges; None: as the experiment had it.
        device: ``auto``: a GPU where there is one.
        skip_existing: leave out images whose results an earlier run has written.
        threads: CPU threads, or processes for the CRF.
        code: unused but for provenance.json.

    Returns:
        How many images could not be predicted; each was told in a line.

    Raises:
        InputError: no model, no image, settings that do not fit, or not one image that could be predicted.
    """
    started = time.monotonic()
    opened = open_model(model)
    settings = chosen_settings(opened.prediction, engine, scales, flip, crf)
    photos = find_photos(images, without=[output / name for name in ("masks", "overlays", VOC_TEST)])
    network = network_in(opened, engine, settings, device, threads)
    outputs, results = Outputs(output, voc_test), CocoResults(opened.classes)
    _prepare(outputs, opened)
    if skip_existing:
        results.take_up(output)
    todo = [photo for photo in photos if not (skip_existing and _is_done(photo, outputs, results))]
    if kept := len(photos) - len(todo):
        log.info("%d of %d images are done already", kept, len(photos))
    begun, failed = time.monotonic(), []
    try:
        done = predicted(network, todo, outputs, settings, threads)
        for one in track(done, "predict", len(todo)):
            if one.problem is not None:
                failed.append(one.problem)
                if len(photos) > 1:  # of one image, the last line says it all
                    log.warning("%s", one.problem)
            else:
                results.add(one.photo.image_id, one.photo.name, one.size, one.found)
    finally:
        if not voc_test and results.images:
            results.write(output)  # an interrupted run keeps what it has done
    _report(len(todo), kept, failed, time.monotonic() - begun)
    write_provenance(
        output / "provenance.json",
        settings={**settings, "engine": engine, "voc_test": voc_test},
        inputs=[opened.folder / ONNX if engine == "onnx" else opened.weights],
        started=started,
        code=code,
        images=len(todo) - len(failed),
    )
    return len(failed)


def chosen_settings(
    experiment: Mapping[str, Any],
    engine: str,
    scales: Sequence[float] | None,
    flip: bool | None,
    crf: bool | None,
) -> dict[str, Any]:
    """The experiment's settings of prediction with what the user wants otherwise."""
    settings = dict(experiment)
    if engine == "onnx":
        settings["precision"] = "no"  # the file holds fp32
    if scales is not None:
        if not scales or not all(0 < scale <= 16 for scale in scales):
            raise InputError(
                f"--scales: {list(scales)} will not do; give factors above 0, at most 16, such as 0.5,1,1.5"
            )
        settings["scales"] = list(scales)
    if flip is not None:
        settings["flip"] = flip
    if crf is not None:
        settings["crf"] = (experiment["crf"] or USUAL_CRF) if crf else None
        if crf and not experiment["crf"]:
            log.info("--crf: the experiment had none; taking DeepLab's settings")
    return settings


def network_in(model: Model, engine: str, settings: Mapping[str, Any], device: str, threads: int) -> Network:
    """The network in the engine wanted, on the device wanted."""
    if engine == "onnx":
        if model.onnx is None:
            raise InputError(
                f"{model.folder}: no {ONNX} here; run `pcc export` with --onnx, or use --engine torch"
            )
        if device == "cuda":
            raise InputError("--engine onnx computes on the CPU; leave --device out")
        side = model.onnx["size"]
        if side != "any" and (settings["image_size"], list(settings["scales"])) != (side, [1.0]):
            raise InputError(
                f"{model.folder / ONNX}: takes images of {side}x{side} pixels only, and these settings ask for others; "
                "use --engine torch"
            )
        assert model.multiple_of is not None
        return OnnxNetwork(model.folder / ONNX, model.multiple_of, threads)
    if device == "cuda" and best_device() != "cuda":
        raise InputError("--device cuda: torch finds no GPU here; use --device auto")
    if device == "cpu" and best_device() != "cpu":
        raise InputError(
            "--device cpu: torch has a GPU in use already; set CUDA_VISIBLE_DEVICES= before starting"
        )
    return model.load().to(best_device())


def _prepare(outputs: Outputs, model: Model) -> None:
    if outputs.voc_test and len(model.classes) != VOC_CLASSES:
        log.warning(
            "--voc-test: the model has %d classes, VOC has %d; its server will misread the masks",
            len(model.classes),
            VOC_CLASSES,
        )
    try:
        outputs.mask("x").parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{outputs.folder}: cannot be written to ({error.strerror}); name another folder"
        ) from error


def _is_done(photo: Photo, outputs: Outputs, results: CocoResults) -> bool:
    """Whether all results are there: those in files of their own, and the entries."""
    if not outputs.mask(photo.image_id).is_file():
        return False
    return outputs.voc_test or (
        photo.image_id in results.images and outputs.overlay(photo.image_id).is_file()
    )


def predicted(
    network: Network, photos: Sequence[Photo], outputs: Outputs, settings: Mapping[str, Any], threads: int
) -> Iterator[Done]:
    """Results of the photos in their order, written as they are asked for."""
    crf = settings["crf"]
    views = Views(settings["image_size"], settings["scales"], settings["flip"])
    seen = (_probabilities(network, photo, views, settings["precision"]) for photo in photos)
    finish = partial(_write, outputs, crf)
    # The CRF costs more than the network on most machines, so it gets the processes.
    return map_in_processes(finish, seen, threads) if crf else map(finish, seen)


def _probabilities(
    network: Network, photo: Photo, views: Views, precision: Precision
) -> tuple[Photo, Tensor | str]:
    """The probabilities of one photo, or why there are none."""
    if fault := ids.fault(photo.image_id):
        return photo, f"{photo.path!s:.300}: name {photo.image_id!r:.300} {fault}; rename the file"
    try:
        return photo, class_probabilities(network, photo.path, views, precision)
    except InputError as error:
        return photo, error.problems[0]
    except (MemoryError, RuntimeError) as error:  # torch has no error of its own for a CPU's memory
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return (
            photo,
            f"{photo.path}: not enough memory for this image; make it smaller, or choose smaller --scales",
        )


def _write(outputs: Outputs, crf: Mapping[str, Any] | None, seen: tuple[Photo, Tensor | str]) -> Done:
    photo, probabilities = seen
    if isinstance(probabilities, str):
        return Done(photo, probabilities)
    values = sharpened(photo.path, probabilities, crf)
    mask = values.argmax(axis=0).astype(np.uint8)
    found: list[Entry] = []
    if not outputs.voc_test:
        with atomic_path(outputs.overlay(photo.image_id)) as temporary:
            Image.fromarray(overlay(read_image(photo.path), mask)).save(temporary, quality=90)
        found = entries(photo.image_id, photo.name, mask, values)
    write_mask(outputs.mask(photo.image_id), mask)  # last, as it tells that an image is done
    return Done(photo, size=(mask.shape[0], mask.shape[1]), found=found)


def _report(images: int, kept: int, failed: Sequence[str], seconds: float) -> None:
    """The speed, and all failures once more at the end, where they are seen.

    Raises:
        InputError: not one image could be predicted, now or (``kept``) before.
    """
    good = images - len(failed)
    if failed and not good and not kept:
        first = (
            failed[0]
            if images == 1
            else f"none of {images} images could be predicted; the first: {failed[0]}"
        )
        raise InputError(first)
    if images:
        speed = good / max(seconds, 1e-9)
        log.info("%d images in %s, %.2f images/s", good, duration(seconds), speed)
    if failed:
        log.warning("%d of %d images could not be predicted:", len(failed), images)
        for problem in failed:
            log.warning("  %s", problem)
