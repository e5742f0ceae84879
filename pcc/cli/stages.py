"""One sub-command per stage of the workflow, of the same name; each hands its words to the stage's function."""

from pathlib import Path
from typing import Annotated

import typer

from pcc.cli.calling import (
    Code,
    ManifestFile,
    Output,
    Seed,
    Settings,
    Shard,
    Threads,
    app,
    parsed,
    run,
    user_errors,
)
from pcc.runtime.errors import InputError


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
        choices = parsed(experiment, "--experiment")
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


def _by_role(given: list[str]) -> dict[str, Path]:
    if unclear := [item for item in given if "=" not in item]:
        raise InputError(f"--after {unclear[0]}: give ROLE=FOLDER, such as generator=results/…/classifier")
    return {role: Path(folder) for role, folder in (item.split("=", 1) for item in given)}
