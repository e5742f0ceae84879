"""One sub-command per stage of the workflow, of the same name."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pcc.cli.calling import ManifestFile, Output, Seed, Shard, parsed, stage
from pcc.runtime.errors import InputError

Paths = list[Path] | None


@stage
def prepare(output: Output) -> None:
    """Read and check a data set; write manifest.csv and dataset.json."""


@stage
def clusters(
    manifest: ManifestFile,
    output: Output,
    replay: Annotated[
        Path | None, typer.Option(help="transcript.jsonl of an earlier run, repeated without a server.")
    ] = None,
    print_prompt: Annotated[bool, typer.Option(help="Print the first prompt and stop.")] = False,
) -> None:
    """Group the class names into clusters."""


@stage
def train(
    manifest: ManifestFile,
    clusters: Annotated[Path, typer.Option(help="clusters.json.")],
    output: Output,
    after: Annotated[
        list[str] | None, typer.Option(help="ROLE=FOLDER of a trained method to start from; once per role.")
    ] = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Train a method's classifier on image-level labels."""
    return {"after": _by_role(after or [])}


@stage
def nouns(
    classifier: Annotated[Path, typer.Option(help="Folder of a trained method with prompts.")], output: Output
) -> None:
    """List the nouns nearest to each learned prompt."""


@stage
def localize(
    manifest: ManifestFile,
    classifier: Annotated[Path, typer.Option(help="Folder of the trained method.")],
    shard: Shard,
    output: Output,
) -> None:
    """Extract the localization maps of one shard of training images."""


@stage
def pseudo_masks(
    manifest: ManifestFile,
    maps: Annotated[Path, typer.Option(help="A shard of localization maps.")],
    output: Output,
    shard: Annotated[str | None, typer.Option(help="Shard index; reads only that shard's images.")] = None,
    boundaries: Annotated[Path | None, typer.Option(help="The shard's class boundaries, for the random walk.")] = None,
) -> None:
    """Refine one shard of localization maps into pseudo masks."""


@stage
def quality(
    manifest: ManifestFile,
    maps: Annotated[list[Path], typer.Option(help="A shard of localization maps; once per shard.")],
    masks: Annotated[list[Path], typer.Option(help="Folder of their pseudo masks; once per shard.")],
    output: Output,
    clusters: Annotated[Path | None, typer.Option(help="clusters.json: areas are compared within a cluster.")] = None,
) -> None:
    """Estimate the reliability of each pseudo mask without ground truth."""


@stage
def train_boundary(
    manifest: ManifestFile,
    masks: Annotated[list[Path], typer.Option(help="Folder of masks, 255 where unsure; once per shard.")],
    output: Output,
    seed: Seed = 0,
) -> None:
    """Train the boundary network of the random walk."""


@stage
def boundaries(
    manifest: ManifestFile,
    network: Annotated[Path, typer.Option(help="Folder of the trained boundary network.")],
    shard: Shard,
    output: Output,
) -> None:
    """Predict the class boundaries of one shard of training images."""


@stage
def train_segmenter(
    manifest: ManifestFile,
    output: Output,
    masks: Annotated[Paths, typer.Option(help="Folder of pseudo masks; once per shard.")] = None,
    supervision: Annotated[str, typer.Option(help="labels: pseudo masks; masks: ground-truth masks.")] = "labels",
    seed: Seed = 0,
) -> None:
    """Train the segmentation network on pseudo masks, or on ground-truth masks for comparison."""


@stage
def segment(
    manifest: ManifestFile,
    segmenter: Annotated[Path, typer.Option(help="Folder of the trained segmenter.")],
    shard: Shard,
    output: Output,
) -> None:
    """Predict the masks of one shard of validation images."""


@stage
def evaluate(
    manifest: ManifestFile,
    inputs: Annotated[list[Path], typer.Option("--input", help="What to score; once per shard.")],
    kind: Annotated[str, typer.Option(help="maps, pseudo_masks or predictions.")],
    split: Annotated[str, typer.Option(help="train or val.")],
    output: Annotated[Path, typer.Option(help="metrics.json to write.")],
    clusters: Annotated[
        str, typer.Option(help="clusters.json, for confusion within and between clusters, or none.")
    ] = "none",
    quality: Annotated[Path | None, typer.Option(help="quality.csv of these pseudo masks.")] = None,
    experiment: Annotated[str, typer.Option(help="The experiment's choices, as JSON.")] = "{}",
    figure: Annotated[Path | None, typer.Option(help="Contact sheet to write, .jpg or .png.")] = None,
) -> dict[str, Any]:
    """Score maps, pseudo masks or predictions against ground-truth masks."""
    return {
        "clusters": None if clusters == "none" else Path(clusters),
        "experiment": parsed(experiment, "--experiment"),
    }


@stage
def report(
    metrics: Annotated[list[Path], typer.Option(help="A metrics.json; once per step of each experiment.")],
    output: Output,
    losses: Annotated[Paths, typer.Option(help="A losses.csv; once per training.")] = None,
    clusters: Annotated[Paths, typer.Option(help="A clusters.json; once per partition.")] = None,
    results: Annotated[Path | None, typer.Option(help="The data set's results folder, for costs.")] = None,
    nouns: Annotated[Paths, typer.Option(help="A nouns.csv; once per method and seed.")] = None,
) -> None:
    """Compare all experiments and seeds in tables and figures."""


def _by_role(given: list[str]) -> dict[str, Path]:
    if unclear := [item for item in given if "=" not in item]:
        raise InputError(f"--after {unclear[0]}: give ROLE=FOLDER, such as generator=results/…/classifier")
    return {role: Path(folder) for role, folder in (item.split("=", 1) for item in given)}
