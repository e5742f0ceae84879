"""Sub-commands that no rule of the workflow calls."""

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.cli.calling import Output, Settings, Threads, tool
from pcc.runtime.errors import InputError

CORES = os.cpu_count() or 1


def _not_nan(value: float) -> float:
    if math.isnan(value):  # passes a comparison with either end of a range
        raise typer.BadParameter("nan is not allowed; a number from 0 to 1")
    return value


def _image_counts(counts: tuple[int, int] | None) -> tuple[int, int] | None:
    if counts and not all(0 <= count <= 10**9 for count in counts):
        raise typer.BadParameter(f"{counts[0]} {counts[1]} is not allowed; two whole numbers from 0 to 1000000000")
    return counts


class Engine(StrEnum):
    """What computes a prediction."""

    torch = "torch"
    onnx = "onnx"


class Device(StrEnum):
    """Where torch computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@tool
def labels(output: Output, settings: Settings = "{}") -> None:
    """Write image-level labels as a table, from XML, masks, COCO JSON or cls_labels.npy."""


@tool
def inspect(
    artifact: Annotated[Path, typer.Argument(help="clusters.json, maps, masks, losses.csv or metrics.json.")],
    image_id: Annotated[str | None, typer.Argument(help="One image; by default a contact sheet of several.")] = None,
    output: Annotated[Path, typer.Option(help="Figure to write, .png or .jpg.")] = Path("inspect.png"),
    manifest: Annotated[Path | None, typer.Option(help="manifest.csv, if it is not in the same results.")] = None,
) -> None:
    """Draw an artifact."""


@tool
def gallery(
    results: Annotated[Path, typer.Argument(help="A data set's results, such as results/shapes.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write; RESULTS/gallery by default.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Number of images at most, spread over the data set.", min=1, max=10**9)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only experiments whose folder contains this, such as pcc/seed-0; may be repeated."),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Build a page to browse all images, maps and masks of a run; it opens without a server."""


@tool
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of images, or of folders of images.")],
    tags: Annotated[
        Path | None, typer.Option(help="CSV of labels; by default the one in FOLDER, or one folder per label.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Configuration to write.")] = Path("mine.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default FOLDER's.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes in the order of their ids in the masks, such as cat,dog; by default sorted."),
    ] = None,
    val_share: Annotated[
        float, typer.Option(help="Fraction of images held out for validation.", min=0, max=1, callback=_not_nan)
    ] = 0.2,
    weights: Annotated[
        Path | None, typer.Option(help="Weights, NETWORK.safetensors; by default downloaded on the first run.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of ground-truth masks, for some images, to score with.")
    ] = None,
    llm: Annotated[str | None, typer.Option(help="Language model that groups the classes.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    tags_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    skip_untagged: Annotated[bool, typer.Option("--skip-untagged", help="Skip images without a row.")] = False,
    allow_unlabelled: Annotated[
        bool, typer.Option("--allow-unlabelled", help="Images without a label are all background.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing configuration.")] = False,
    threads: Threads = CORES,
) -> dict[str, Any]:
    """Propose a configuration for a folder of labelled images; estimate what it costs here."""
    return {"weights_file": weights, "weights": None}


@tool
def doctor(
    configfile: Annotated[Path, typer.Option(help="Configuration to check.")] = Path("config.yaml"),
    images: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="Number of train and val images, if the data are not here yet: 82081 40137.", callback=_image_counts
        ),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Check the installation and data paths; estimate run time and disk use."""


@tool
def export(
    segmenter: Annotated[Path, typer.Argument(help="Folder of a trained segmenter, or the folder above it.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    onnx: Annotated[bool, typer.Option(help="Write model.onnx too, and compare it with PyTorch.")] = True,
) -> None:
    """Export a trained segmenter as a self-contained folder: weights, settings, model card, ONNX."""


@tool
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of `pcc export`, or of a trained segmenter.")],
    images: Annotated[list[str], typer.Argument(help="Images, folders of images, quoted patterns.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")],
    voc_test: Annotated[bool, typer.Option("--voc-test", help="Write masks for VOC's evaluation server.")] = False,
    engine: Annotated[Engine, typer.Option(help="What computes.")] = Engine.torch,
    scales: Annotated[str | None, typer.Option(help="Test-time scales, such as 0.5,1,1.5.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Predict the mirrored image too.")] = None,
    crf: Annotated[bool | None, typer.Option(help="CRF post-processing.")] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU if there is one.")] = Device.auto,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip images that have results.")] = False,
    threads: Threads = CORES,
) -> dict[str, Any]:
    """Predict masks for images. Unset options use the experiment's settings. Exits with 1 if any image fails."""
    if device is Device.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported
    return {"scales": None if scales is None else _factors(scales)}


def _factors(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--scales: invalid value {text!r}: give a list of factors such as 0.5,1,1.5") from None
