"""Sub-commands for people, which no rule of the workflow calls."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pcc.cli.calling import Output, Settings, Threads, app, run, user_errors
from pcc.runtime.errors import InputError

CORES = os.cpu_count() or 1


class Engine(StrEnum):
    """What computes a prediction."""

    torch = "torch"
    onnx = "onnx"


class Device(StrEnum):
    """Where torch computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@app.command()
def labels(output: Output, settings: Settings = "{}") -> None:
    """Write image-level labels as a table, from XML, masks, COCO JSON or cls_labels.npy."""
    run("labels", settings, 1, "", output=output)


@app.command()
def inspect(
    artifact: Annotated[Path, typer.Argument(help="clusters.json, maps, masks, losses.csv or metrics.json.")],
    image_id: Annotated[
        str | None, typer.Argument(help="One image; a sheet of several where left out.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Picture to write, .png or .jpg.")] = Path("inspect.png"),
    manifest: Annotated[
        Path | None, typer.Option(help="manifest.csv, where it is not in the same results.")
    ] = None,
) -> None:
    """Draw an artifact."""
    run("inspect", "{}", 1, "", artifact=artifact, image_id=image_id, output=output, manifest=manifest)


@app.command()
def gallery(
    results: Annotated[Path, typer.Argument(help="A data set's results, such as results/shapes.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write; RESULTS/gallery by default.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many images, spread over the data set.", min=1)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only experiments whose folder has this in it, such as pcc/seed-0; may be repeated."
        ),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Make a page to look through all images, maps and masks of a run; it opens without a server."""
    run(
        "gallery",
        "{}",
        threads,
        "",
        results=results,
        output=output,
        limit=limit,
        only=only or [],
    )


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of photos, or of folders of photos.")],
    tags: Annotated[
        Path | None, typer.Option(help="CSV of tags; without it, the one in FOLDER, or one folder per tag.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Configuration to write.")] = Path("mine.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of the data set; without it, FOLDER's.")] = None,
    val_share: Annotated[float, typer.Option(help="Share of the photos kept out of training, 0..1.")] = 0.2,
    weights: Annotated[
        Path | None, typer.Option(help="Weights, NETWORK.safetensors; without it, fetched on the first run.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of true masks, for some of the photos, to score with.")
    ] = None,
    llm: Annotated[str | None, typer.Option(help="Language model to group the classes.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    tags_column: Annotated[str | None, typer.Option(help="Column of tags.")] = None,
    skip_untagged: Annotated[
        bool, typer.Option("--skip-untagged", help="Leave out photos without a row.")
    ] = False,
    allow_unlabelled: Annotated[
        bool, typer.Option("--allow-unlabelled", help="Photos without a tag are all background.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the configuration if it is there.")] = False,
    threads: Threads = CORES,
) -> None:
    """Propose a configuration for a folder of tagged photos, and tell what it will cost here."""
    run(
        "init",
        "{}",
        threads,
        "",
        folder=folder,
        output=output,
        tags=tags,
        masks=masks,
        image_column=image_column,
        tags_column=tags_column,
        name=name,
        val_share=val_share,
        weights_file=weights,
        llm=llm,
        skip_untagged=skip_untagged,
        allow_unlabelled=allow_unlabelled,
        force=force,
    )


@app.command()
def doctor(
    configfile: Annotated[Path, typer.Option(help="Configuration to judge by.")] = Path("config.yaml"),
    images: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Train and val images, before the data are there: 82081 40137."),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Tell what is installed and found, and what the configuration's runs will cost in time and disk."""
    run("doctor", "{}", threads, "", configfile=configfile, images=images)


@app.command()
def export(
    segmenter: Annotated[Path, typer.Argument(help="Folder of a trained segmenter, or the folder above it.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    onnx: Annotated[bool, typer.Option(help="Write model.onnx too, and compare it with PyTorch.")] = True,
) -> None:
    """Write a trained segmenter as a folder that stands alone: weights, settings, model card, ONNX."""
    run("export", "{}", 1, "", segmenter=segmenter, output=output, onnx=onnx)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of `pcc export`, or of a trained segmenter.")],
    images: Annotated[list[str], typer.Argument(help="Photos, folders of photos, quoted patterns.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")],
    voc_test: Annotated[bool, typer.Option("--voc-test", help="Masks as VOC's server takes them.")] = False,
    engine: Annotated[Engine, typer.Option(help="What computes.")] = Engine.torch,
    scales: Annotated[str | None, typer.Option(help="Sizes of the views, such as 0.5,1,1.5.")] = None,
    flip: Annotated[bool | None, typer.Option(help="See each view mirrored too.")] = None,
    crf: Annotated[bool | None, typer.Option(help="Sharpen masks to colour edges.")] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.auto,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave done images out.")] = False,
    threads: Threads = CORES,
) -> None:
    """Predict the masks of photos; exit code 1 when some could not be. Left out, settings are the experiment's."""
    with user_errors("predict"):
        factors = None if scales is None else _factors(scales)
    if device is Device.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported
    failed = run(
        "predict",
        "{}",
        threads,
        "",
        model=model,
        images=images,
        output=output,
        voc_test=voc_test,
        engine=engine.value,
        scales=factors,
        flip=flip,
        crf=crf,
        device=device.value,
        skip_existing=skip_existing,
    )
    if failed:
        raise typer.Exit(1)


def _factors(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--scales: {text!r} is no list of factors; write it like 0.5,1,1.5") from None
