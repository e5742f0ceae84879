"""The command line: ``pcc STAGE``, one sub-command per stage of the workflow, plus labels, inspect and doctor.

Stages are imported when they are called, so that ``--help`` is quick and a stage's imports are its own.
"""

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.errors import InputError, call_with

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

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


def run(stage: str, settings: str, threads: int, code: str, **paths: Any) -> None:
    """Call a stage with its settings spread by name.

    Args:
        stage: module of `pcc.stages` and function in it.
        settings: JSON object.
        threads: CPU threads, also for torch.
        code: fingerprint.
        paths: the stage's own arguments.
    """
    with user_errors(stage):
        values = _parse(settings)
        function = _stage(stage, threads)
        call_with(function, values, stage, threads=threads, code=code, **paths)


@contextmanager
def user_errors(stage: str) -> Iterator[None]:
    """Turn `InputError` into its lines on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        for problem in error.problems:
            typer.echo(f"pcc {stage}: {problem}", err=True)
        raise typer.Exit(2) from None


def _stage(stage: str, threads: int) -> Callable[..., None]:
    # Set before torch is imported: OpenMP reads it once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    module = importlib.import_module(f"pcc.stages.{stage}")
    import torch

    torch.set_num_threads(threads)
    return getattr(module, stage)


def _parse(settings: str) -> dict[str, Any]:
    try:
        values = json.loads(settings)
    except json.JSONDecodeError as error:
        raise InputError(f"--settings is not JSON ({error}); quote it as one word: --settings '{{\"a\": 1}}'") from error
    if not isinstance(values, dict):
        raise InputError(f"--settings must be a JSON object, not {type(values).__name__}")
    return values


@app.command()
def prepare(output: Output, settings: Settings = "{}", threads: Threads = 1, code: Code = "") -> None:
    """Read a data set, check it, and write manifest.csv and dataset.json."""
    run("prepare", settings, threads, code, output=output)


@app.command()
def clusters(
    manifest: ManifestFile, output: Output, settings: Settings = "{}", threads: Threads = 1, code: Code = ""
) -> None:
    """Group the category names into clusters."""
    run("clusters", settings, threads, code, manifest=manifest, output=output)


@app.command()
def train(
    manifest: ManifestFile,
    clusters: Annotated[Path, typer.Option(help="clusters.json.")],
    output: Output,
    seed: Seed = 0,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Train a method's classifier on image-level labels."""
    run("train", settings, threads, code, manifest=manifest, clusters=clusters, output=output, seed=seed)


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
    run("localize", settings, threads, code, manifest=manifest, classifier=classifier, shard=shard, output=output)


@app.command("pseudo_masks")
def pseudo_masks(
    manifest: ManifestFile,
    maps: Annotated[Path, typer.Option(help="A shard of localization maps.")],
    output: Output,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Refine one shard of localization maps into pseudo masks."""
    run("pseudo_masks", settings, threads, code, manifest=manifest, maps=maps, output=output)


@app.command("train_segmenter")
def train_segmenter(
    manifest: ManifestFile,
    output: Output,
    masks: Annotated[list[Path] | None, typer.Option(help="Folder of pseudo masks; once per shard.")] = None,
    supervision: Annotated[str, typer.Option(help="tags: pseudo masks; masks: the true ones.")] = "tags",
    seed: Seed = 0,
    settings: Settings = "{}",
    threads: Threads = 1,
    code: Code = "",
) -> None:
    """Train the final network on pseudo masks, or on true masks for comparison."""
    run(
        "train_segmenter", settings, threads, code,
        manifest=manifest, masks=masks or [], output=output, seed=seed, supervision=supervision,
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
    run("segment", settings, threads, code, manifest=manifest, segmenter=segmenter, shard=shard, output=output)
