"""Predict masks, overlays and COCO results for images, with an exported model or a segmenter of the results."""

import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from pcc.artifacts.masks import write_mask
from pcc.artifacts.provenance import Job
from pcc.data import image_ids as ids
from pcc.data.images import read_image
from pcc.deployment.coco_results import IMAGES, RESULTS, CocoResults, Entry, entries
from pcc.deployment.inputs import InputImage, find_images
from pcc.deployment.model_config import ONNX
from pcc.deployment.package import Model, open_model
from pcc.deployment.predictor import Predictor, post_process, to_class_ids
from pcc.figures.pictures import overlay
from pcc.runtime.errors import InputError, reason
from pcc.runtime.files import atomic_path
from pcc.runtime.ownership import RECORD, claimed
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import duration, log, track

VOC_TEST = Path("results/VOC2012/Segmentation/comp6_test_cls")
VOC_CLASSES = 21
FOLDERS, FILES = ("masks", "overlays", VOC_TEST), (RESULTS, IMAGES)
# An error of writing that is about one image: its name, or what an encoder cannot have. All others are the disk's.
OF_ONE_IMAGE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, None)
TOO_LARGE = "not enough memory for this image; make it smaller, or choose smaller --scales"
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

    image: InputImage
    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    found: Sequence[Entry] = ()


class Seen(NamedTuple):
    """One image with the network's probabilities, or the line that says why there are none."""

    source: InputImage
    problem: str | None
    pixels: UInt8[np.ndarray, "H W 3"] | None = None
    probabilities: Float[Tensor, "C H W"] | None = None


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
) -> int:
    """Predict images as the workflow predicts the validation images.

    Args:
        model: folder of `pcc export`, or a segmenter's folder in results.
        images: files, folders and patterns.
        output: folder for masks/, overlays/, predictions.json, images.json and provenance.json.
        voc_test: write masks alone, in the layout of VOC's evaluation server.
        engine: PyTorch, or onnxruntime on the CPU (exported models with a model.onnx).
        scales: test-time scales; None: the experiment's.
        flip: predict the mirrored image too; None: the experiment's setting.
        crf: CRF post-processing; None: the experiment's setting.
        device: ``auto``: a GPU where there is one.
        skip_existing: skip images that have results.
        threads: CPU threads, or processes for the CRF.

    Returns:
        How many images failed; each is logged in one line.

    Raises:
        InputError: no model, no image, invalid settings, or no image that could be predicted.
    """
    with claimed(output, "predict", "inside"):
        opened = open_model(model)
        chosen = chosen_settings(opened.prediction, engine, scales, flip, crf)
        outputs = Outputs(output, voc_test)
        found, left_out = find_images(images, without=[output / name for name in FOLDERS])
        _check_inputs(found, outputs)
        predictor = opened.predictor(engine=engine, device=device, threads=threads, **chosen)
        settings = {**asdict(predictor.settings), "engine": engine, "voc_test": voc_test}
        job = Job(settings, [opened.folder / ONNX if engine == "onnx" else opened.weights], stage="predict")
        results = CocoResults(opened.classes)
        _prepare(outputs, opened)
        if skip_existing:
            results.take_up(output)
        todo = [photo for photo in found if not (skip_existing and _is_done(photo, outputs, results))]
        if kept := len(found) - len(todo):
            log.info("%d of %d images have results already", kept, len(found))
        begun, failed = time.monotonic(), []
        try:
            done = predicted(predictor, todo, outputs, threads)
            for one in track(done, "predict", len(todo)):
                if one.problem is not None:
                    failed.append(one.problem)
                    if len(found) > 1:  # of a single image, the last line is enough
                        log.warning("%s", one.problem)
                else:
                    results.add(one.image.image_id, one.image.name, one.size, one.found)
        finally:
            if not voc_test and results.images:
                results.write(output)  # an interrupted run keeps what it has done
        _report(len(todo), kept, failed, time.monotonic() - begun)
        if left_out:
            log.warning("%s", left_out)
        job.write_provenance(output, [], images=len(todo) - len(failed))
        return len(failed)


def chosen_settings(
    experiment: Mapping[str, Any], engine: str, scales: Sequence[float] | None, flip: bool | None, crf: bool | None
) -> dict[str, Any]:
    """Settings of `Prediction` that replace the experiment's."""
    settings: dict[str, Any] = {}
    if engine == "onnx":
        settings["precision"] = "no"  # the file holds fp32
    if scales is not None:
        settings["scales"] = list(scales)
    if flip is not None:
        settings["flip"] = flip
    if crf is not None:
        settings["crf"] = (experiment["crf"] or USUAL_CRF) if crf else None
        if crf and not experiment["crf"]:
            log.info("--crf: the experiment had none; using DeepLab's settings")
    return settings


def _check_inputs(images: Sequence[InputImage], outputs: Outputs) -> None:
    """Refuse to write over an image that is to be predicted, whatever links lead there.

    Raises:
        InputError: a result would be stored in an image's file.
    """
    sources: dict[Any, Path] = {_identity(image.path): image.path for image in images}
    sources.pop(None, None)
    for image in images:
        for target in (outputs.mask(image.image_id), outputs.overlay(image.image_id)):
            if source := sources.get(_identity(target)):
                raise InputError(f"{target}: is the image {source}; name another folder as --output")
    for target in (outputs.folder / name for name in (*FILES, RECORD)):
        if source := sources.get(_identity(target)):
            raise InputError(f"{target}: is the image {source}; name another folder as --output")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _prepare(outputs: Outputs, model: Model) -> None:
    if outputs.voc_test and len(model.classes) != VOC_CLASSES:
        log.warning(
            "--voc-test: the model has %d classes, VOC has %d; its server will misread the masks",
            len(model.classes),
            VOC_CLASSES,
        )
    outputs.mask("x").parent.mkdir(parents=True, exist_ok=True)


def _is_done(photo: InputImage, outputs: Outputs, results: CocoResults) -> bool:
    """Whether all results are there: those in files of their own, and the entries."""
    if not os.path.isfile(outputs.mask(photo.image_id)):  # noqa: PTH113 - pathlib raises for names that are too long
        return False
    return outputs.voc_test or (photo.image_id in results.images and outputs.overlay(photo.image_id).is_file())


def predicted(predictor: Predictor, images: Sequence[InputImage], outputs: Outputs, threads: int) -> Iterator[Done]:
    """Results of the images in order, written as they are consumed."""
    crf = predictor.settings.crf
    seen = (_seen(predictor, image) for image in images)
    finish = partial(_write, outputs, crf)
    # The CRF costs more than the network on most machines, so it gets the processes.
    return map_in_processes(finish, seen, threads) if crf else map(finish, seen)


def _seen(predictor: Predictor, source: InputImage) -> Seen:
    """The image and its probabilities, or the line that says why there are none."""
    if fault := ids.fault(source.image_id):
        return Seen(source, f"{source.path!s:.300}: name {source.image_id!r:.300} {fault}; rename the file")
    try:
        pixels = read_image(source.path)
    except InputError as error:
        return Seen(source, error.problems[0])
    except MemoryError:
        return Seen(source, f"{source.path}: {TOO_LARGE}")
    try:
        return Seen(source, None, pixels, predictor.probabilities(pixels[None])[0])
    except InputError as error:
        return Seen(source, f"{source.path}: {error.problems[0]}")
    except (MemoryError, RuntimeError) as error:  # torch has no error of its own for a CPU's memory
        memory = isinstance(error, MemoryError) or "memory" in str(error)
        fault = TOO_LARGE if memory else f"the network cannot predict this image ({reason(error)})"
        return Seen(source, f"{source.path}: {fault}")


def _write(outputs: Outputs, crf: Mapping[str, Any] | None, seen: Seen) -> Done:
    source, problem, pixels, probabilities = seen
    if pixels is None or probabilities is None:
        return Done(source, problem)
    values = post_process(pixels, probabilities, crf)
    mask = to_class_ids(values)
    found: list[Entry] = []
    try:
        if not outputs.voc_test:
            with atomic_path(outputs.overlay(source.image_id)) as temporary:
                Image.fromarray(overlay(pixels, mask)).save(temporary, quality=90)
            found = entries(source.image_id, source.name, mask, values)
        write_mask(outputs.mask(source.image_id), mask)  # last: a mask marks an image as done
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in OF_ONE_IMAGE:
            raise
        fault = getattr(error, "strerror", None) or reason(error)
        return Done(source, f"{source.path!s:.300}: results cannot be written ({fault}); rename or resize the image")
    return Done(source, size=(mask.shape[0], mask.shape[1]), found=found)


def _report(images: int, kept: int, failed: Sequence[str], seconds: float) -> None:
    """The speed, and all failures once more at the end, where they are seen.

    Raises:
        InputError: not one image could be predicted, now or (``kept``) before.
    """
    good = images - len(failed)
    if failed and not good and not kept:
        first = failed[0] if images == 1 else f"none of {images} images could be predicted; the first: {failed[0]}"
        raise InputError(first)
    if images:
        speed = good / max(seconds, 1e-9)
        log.info("%d images in %s, %.2f images/s", good, duration(seconds), speed)
    if failed:
        log.warning("%d of %d images could not be predicted:", len(failed), images)
        for problem in failed:
            log.warning("  %s", problem)
