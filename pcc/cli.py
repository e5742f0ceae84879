"""The command line: ``pcc STAGE``, one sub-command per stage of the workflow, plus tools for people.

Stages are imported when they are called, so that ``--help`` is quick and a stage's imports are its own.
"""

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.errors import InputError, call_with
from pcc.examples import epilog
from pcc.launch import launch, wanted_processes

TRAININGS = ("train", "train_boundary", "train_segmenter")  # spread over all GPUs that they are given

CORES = os.cpu_count() or 1

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes break examples into pieces that cannot be pasted
    help=__doc__,
)


class Engine(StrEnum):
    """What computes a prediction."""

    torch = "torch"
    onnx = "onnx"


class Device(StrEnum):
    """Where torch computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Settings = Annotated[str, typer.Option(help="The stage's slice of the configuration, as JSON.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
Code = Annotated[str, typer.Option(help="Fingerprint of the stage's code; a resumed run must have the same.")]
Output = Annotated[Path, typer.Option(help="What to write.")]
ManifestFile = Annotated[Path, typer.Option("--manifest", help="manifest.csv of the data set.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Shard = Annotated[str, typer.Option(help="Number of the shard, such as 000.")]


def main() -> None:
    """Run the command line; a user's error is one line per problem and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    app()


def run(stage: str, settings: str, threads: int, code: str, **paths: Any) -> Any:
    """Call a stage with its settings spread by name, and return what it returns.

    Args:
        stage: module of `pcc.stages` and function in it.
        settings: JSON object.
        threads: CPU threads, also for torch.
        code: fingerprint.
        paths: the stage's own arguments.
    """
    with user_errors(stage):
        values = _parse(settings)
        if stage in TRAININGS and (processes := wanted_processes()) > 1:
            raise typer.Exit(launch(sys.argv[1:], processes))
        function = _stage(stage, max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        return call_with(function, values, "settings", threads=threads, code=code, **paths)


@contextmanager
def user_errors(stage: str) -> Iterator[None]:
    """Turn `InputError` into its lines on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        for problem in error.problems:
            typer.echo(f"pcc {stage}: {problem}", err=True)
        raise typer.Exit(2) from None


def _stage(stage: str, threads: int) -> Callable[..., Any]:
    # Set before torch is imported: OpenMP reads it once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    module = importlib.import_module(f"pcc.stages.{stage}")
    if torch := sys.modules.get("torch"):  # two seconds, which stages that need none are spared
        torch.set_num_threads(threads)
    return getattr(module, stage)


def _parse(text: str, option: str = "--settings") -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{option} is not JSON ({error}); quote it as one word: {option} '{{\"a\": 1}}'"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{option} must be a JSON object, not {type(values).__name__}")
    return values


def _by_role(given: list[str]) -> dict[str, Path]:
    if unclear := [item for item in given if "=" not in item]:
        raise InputError(f"--after {unclear[0]}: give ROLE=FOLDER, such as generator=results/…/classifier")
    return {role: Path(folder) for role, folder in (item.split("=", 1) for item in given)}


def _factors(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--scales: {text!r} is no list of factors; write it like 0.5,1,1.5") from None


@app.command()
def prepare(output: Output, settings: Settings = "{}", threads: Threads = 1, code: Code = "") -> None:
    """Read a data set, check it, and write manifest.csv and dataset.json."""
    run("prepare", settings, threads, code, output=output)


@app.command()
def clusters(
    manifest: ManifestFile,
    output: Output,
    replay: Annotated[
        Path | None, typer.Option(help="transcript.jsonl of an earlier run, repeated without a server.")
    ] = None,
    print_prompt: Annotated[bool, typer.Option(help="Show what would be asked first, and stop.")] = False,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Group the category names into clusters."""
    chosen = {"replay": replay} if replay else {}
    run(
        "clusters",
        settings,
        threads,
        code,
        manifest=manifest,
        output=output,
        print_prompt=print_prompt,
        **chosen,
    )


@app.command()
def train(
    manifest: ManifestFile,
    clusters: Annotated[Path, typer.Option(help="clusters.json.")],
    output: Output,
    after: Annotated[
        list[str] | None, typer.Option(help="ROLE=FOLDER of a trained method to begin with; once per role.")
    ] = None,
    seed: Seed = 0,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Train a method's classifier on image-level labels."""
    with user_errors("train"):
        folders = _by_role(after or [])
    run(
        "train",
        settings,
        threads,
        code,
        manifest=manifest,
        clusters=clusters,
        output=output,
        after=folders,
        seed=seed,
    )


@app.command()
def nouns(
    classifier: Annotated[Path, typer.Option(help="Folder of a trained method with prompts.")],
    output: Output,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Name what learned prompts are nearest to."""
    run("nouns", settings, threads, code, classifier=classifier, output=output)


@app.command()
def localize(
    manifest: ManifestFile,
    classifier: Annotated[Path, typer.Option(help="Folder of the trained method.")],
    shard: Shard,
    output: Output,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Extract the localization maps of one shard of training images."""
    run(
        "localize",
        settings,
        threads,
        code,
        manifest=manifest,
        classifier=classifier,
        shard=shard,
        output=output,
    )


@app.command("pseudo_masks")
def pseudo_masks(
    manifest: ManifestFile,
    maps: Annotated[Path, typer.Option(help="A shard of localization maps.")],
    output: Output,
    shard: Annotated[
        str | None, typer.Option(help="Its number, when only its own images should be read.")
    ] = None,
    boundaries: Annotated[
        Path | None, typer.Option(help="The shard's class boundaries, for the random walk.")
    ] = None,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Refine one shard of localization maps into pseudo masks."""
    run(
        "pseudo_masks",
        settings,
        threads,
        code,
        manifest=manifest,
        maps=maps,
        shard=shard,
        boundaries=boundaries,
        output=output,
    )


@app.command()
def quality(
    manifest: ManifestFile,
    maps: Annotated[list[Path], typer.Option(help="A shard of the localization maps; once per shard.")],
    masks: Annotated[list[Path], typer.Option(help="Folder of the pseudo masks made of it; once per shard.")],
    output: Output,
    clusters: Annotated[
        Path | None, typer.Option(help="clusters.json, whose members' areas are compared.")
    ] = None,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Say how far each pseudo mask may be trusted, without any true mask."""
    run(
        "quality",
        settings,
        threads,
        code,
        manifest=manifest,
        maps=maps,
        masks=masks,
        output=output,
        clusters=clusters,
    )


@app.command("train_boundary")
def train_boundary(
    manifest: ManifestFile,
    masks: Annotated[
        list[Path], typer.Option(help="Folder of masks that are sure in places; once per shard.")
    ],
    output: Output,
    seed: Seed = 0,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Train the boundary network of the random walk."""
    run("train_boundary", settings, threads, code, manifest=manifest, masks=masks, output=output, seed=seed)


@app.command()
def boundaries(
    manifest: ManifestFile,
    network: Annotated[Path, typer.Option(help="Folder of the trained boundary network.")],
    shard: Shard,
    output: Output,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Predict the class boundaries of one shard of training images."""
    run("boundaries", settings, threads, code, manifest=manifest, network=network, shard=shard, output=output)


@app.command("train_segmenter")
def train_segmenter(
    manifest: ManifestFile,
    output: Output,
    masks: Annotated[list[Path] | None, typer.Option(help="Folder of pseudo masks; once per shard.")] = None,
    supervision: Annotated[str, typer.Option(help="labels: pseudo masks; masks: the true ones.")] = "labels",
    seed: Seed = 0,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Train the final network on pseudo masks, or on true masks for comparison."""
    run(
        "train_segmenter",
        settings,
        threads,
        code,
        manifest=manifest,
        masks=masks or [],
        output=output,
        seed=seed,
        supervision=supervision,
    )


@app.command()
def segment(
    manifest: ManifestFile,
    segmenter: Annotated[Path, typer.Option(help="Folder of the trained segmenter.")],
    shard: Shard,
    output: Output,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Predict the masks of one shard of validation images."""
    run(
        "segment", settings, threads, code, manifest=manifest, segmenter=segmenter, shard=shard, output=output
    )


@app.command()
def evaluate(
    manifest: ManifestFile,
    inputs: Annotated[list[Path], typer.Option("--input", help="What is scored; once per shard.")],
    kind: Annotated[str, typer.Option(help="maps, pseudo_masks or predictions.")],
    split: Annotated[str, typer.Option(help="train or val.")],
    output: Annotated[Path, typer.Option(help="metrics.json to write.")],
    clusters: Annotated[
        str, typer.Option(help="clusters.json that confusion is told apart by, or none.")
    ] = "none",
    quality: Annotated[Path | None, typer.Option(help="quality.csv of these pseudo masks.")] = None,
    experiment: Annotated[str, typer.Option(help="The choices that led here, as JSON.")] = "{}",
    figure: Annotated[Path | None, typer.Option(help="Contact sheet to write, .jpg or .png.")] = None,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Score maps, pseudo masks or predictions against the true masks."""
    with user_errors("evaluate"):
        choices = _parse(experiment, "--experiment")
    run(
        "evaluate",
        settings,
        threads,
        code,
        manifest=manifest,
        inputs=inputs,
        kind=kind,
        split=split,
        output=output,
        clusters=None if clusters == "none" else Path(clusters),
        quality=quality,
        experiment=choices,
        figure=figure,
    )


@app.command()
def report(
    metrics: Annotated[list[Path], typer.Option(help="A metrics.json; once per step of each experiment.")],
    output: Output,
    losses: Annotated[list[Path] | None, typer.Option(help="A losses.csv; once per training.")] = None,
    clusters: Annotated[list[Path] | None, typer.Option(help="A clusters.json; once per partition.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="The data set's results folder, for what they cost.")
    ] = None,
    nouns: Annotated[list[Path] | None, typer.Option(help="A nouns.csv; once per method and seed.")] = None,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Put the numbers of all experiments and seeds side by side, as tables and figures."""
    run(
        "report",
        settings,
        threads,
        code,
        metrics=metrics,
        output=output,
        losses=losses or [],
        clusters=clusters or [],
        results=results,
        nouns=nouns or [],
    )


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


for _command in app.registered_commands:
    assert _command.callback is not None
    _command.epilog = epilog(_command.name or _command.callback.__name__)
