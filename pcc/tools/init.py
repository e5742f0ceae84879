"""Propose a configuration for a folder of labelled images, and estimate what it costs."""

import difflib
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pcc.clusters.chat import ADDRESS, KEY
from pcc.configuration import complete
from pcc.data.checks import find_problems
from pcc.data.manifest import SPLITS, Manifest
from pcc.models.backbones import Backbone
from pcc.planning.doubts import doubts, tag_counts, untagged, untrained_classes
from pcc.planning.estimate import Estimate, Images, mean_pixels
from pcc.planning.findings import disk, times_table, weights
from pcc.planning.measuring import measure
from pcc.planning.proposal import REFINEMENT, SIZES, Proposal, configuration
from pcc.planning.sniff import look
from pcc.readers import folder as reader
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import write_text
from pcc.runtime.hardware import device

STRIDE = 16
NETWORK = "tf_efficientnet_lite0"  # small enough for a laptop, and the one that the recipe was measured with
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of the schema
LEAST_TIME, TIME_PER_IMAGE = 30 * 60, 10.0  # seconds that a run may take before images are made smaller
SHARD_TIME = 5 * 60  # seconds of a job
MOST_SHARDS = 999
LARGE_PHOTO = 4e6  # pixels


def init(
    folder: Path,
    output: Path,
    *,
    tags: Path | None = None,
    masks: Path | None = None,
    image_column: str | None = None,
    tags_column: str | None = None,
    name: str | None = None,
    val_share: float = 0.2,
    weights_file: Path | None = None,
    llm: str | None = None,
    skip_untagged: bool = False,
    allow_unlabelled: bool = False,
    force: bool = False,
    threads: int = 1,
) -> None:
    """Inspect a folder of images, check it as `prepare` does, and write a configuration with a reason for each choice.

    Args:
        folder: the images.
        output: YAML file to write.
        tags: see `pcc.planning.sniff.look`; ``masks``, ``image_column`` and ``tags_column`` too.
        name: of the data set; None: the folder's.
        val_share: fraction of images held out for validation, unless the table has a column of splits.
        weights_file: safetensors file named after its timm network; None: timm's own weights, fetched on the first run.
        llm: name of a language model that groups the classes; None: no clusters.
        skip_untagged: skip images without a row in the table.
        allow_unlabelled: take training images without a label as all background.
        force: overwrite ``output``.
        threads: images decoded at a time, and processes that a refinement will have.

    Raises:
        InputError: one line for each problem; then nothing is written.
    """
    if output.exists() and not force:
        raise InputError(f"{output}: already exists; name another with --output, or overwrite it with --force")
    title = _name(folder, name)
    _check_llm(llm)
    found = look(folder, tags=tags, masks=masks, image_column=image_column, tags_column=tags_column)
    settings: dict[str, Any] = dict(found.settings)
    if "split_column" not in settings:
        settings["val_share"] = val_share
    manifest = call_with(reader.read, settings, "dataset.settings", output=output)
    manifest = replace(manifest, dataset=replace(manifest.dataset, name=title))
    left_out = untagged(found.files, manifest)
    problems = find_problems(manifest, allow_unlabelled=allow_unlabelled, threads=threads)
    if not skip_untagged:
        problems += [
            f"{file}: image has no row in {settings['tags']}; add one, or skip such images with --skip-untagged"
            for file in left_out
        ]
    # With faulty rows left out, classes look emptier than they are.
    if problems := problems or list(untrained_classes(manifest)):
        raise InputError(problems)
    network, is_vit = find_network(weights_file)
    proposal = Proposal(
        name=title,
        reader=settings,
        classes=tag_counts(manifest.records, manifest.dataset.classes),
        train=len(manifest.select("train")),
        val=len(manifest.select("val")),
        splits=[split for split in SPLITS if any(r.scored for r in manifest.select(split))],
        allow_unlabelled=allow_unlabelled,
        network=network,
        is_vit=is_vit,
        language_model=llm,
        image_size=SIZES[0],
        shards=dict.fromkeys(SPLITS, 1),
        why_size="",
    )
    proposal, expected = fit(proposal, _images(manifest), threads)
    text = configuration(proposal, output.as_posix())
    write_text(output, text)
    _print_summary(found.summary, manifest, left_out, complete(yaml.safe_load(text)), proposal, expected)
    _print_next_steps(output, proposal)


def find_network(weights_file: Path | None) -> tuple[dict[str, Any], bool]:
    """Settings of the backbone, and whether it is a ViT.

    Raises:
        InputError: the file is missing, is named after no network of timm's, or does not fit it.
    """
    if weights_file is None:
        return {"name": NETWORK, "weights": "hub", "settings": {"output_stride": STRIDE}}, False
    known = set(timm.list_models())
    stem = weights_file.name.split(".")[0]
    if stem not in known:
        near = difflib.get_close_matches(stem, known, n=1)
        raise InputError(
            f"{weights_file}: the file name is not a timm network{f', near: {near[0]}' if near else ''}; "
            "rename it, as in resnet50.safetensors"
        )
    network: dict[str, Any] = {"name": stem, "weights": weights_file.as_posix()}
    is_vit = call_with(Backbone, {"name": stem}, "--weights").is_vit
    network["settings"] = {} if is_vit else {"output_stride": STRIDE}
    call_with(Backbone, network, "--weights")
    return network, is_vit


def fit(proposal: Proposal, images: Images, threads: int) -> tuple[Proposal, Estimate]:
    """The largest images that leave the run short on this machine, and jobs of a few minutes.

    Raises:
        InputError: a part of the configuration cannot be used here.
    """
    networks, refinements, problems = measure(complete(yaml.safe_load(configuration(proposal, ""))))
    if problems:
        raise InputError(problems)

    def judge(proposal: Proposal) -> Estimate:
        config = complete(yaml.safe_load(configuration(proposal, "")))
        return Estimate(config, images, networks, refinements, threads)

    most = max(LEAST_TIME, TIME_PER_IMAGE * (images.train + images.val))
    for size in SIZES:
        why = (
            "smaller is quicker and coarser"
            if size == SIZES[0]
            else f"more would take too long here; {SIZES[0]} is better"
        )
        proposal = replace(proposal, image_size=size, why_size=why)
        expected = judge(proposal)
        if sum(expected.seconds.values()) <= most:
            break
    by_split = {"train": ("localize", "pseudo_masks"), "val": ("segment",)}
    chains = 2  # each experiment's jobs are cut the same way
    shards = {
        split: min(
            getattr(images, split),
            MOST_SHARDS,
            math.ceil(max(expected.seconds[stage] for stage in stages) / chains / SHARD_TIME),
        )
        for split, stages in by_split.items()
    }
    proposal = replace(proposal, shards={split: max(1, count) for split, count in shards.items()})
    return proposal, judge(proposal)


def _images(manifest: Manifest) -> Images:
    train, val = (manifest.select(split) for split in SPLITS)
    tags = sum(len(record.labels) for record in train) / len(train)
    pixels = mean_pixels([record.image for record in manifest.records])
    return Images(len(train), len(val), tags, pixels, "the folder")


def _name(folder: Path, given: str | None) -> str:
    """The data set's name, which is a folder of the results."""
    if given is not None and not NAME.fullmatch(given):
        raise InputError(f"--name: '{given}' names a folder; use letters, digits, '_', '-' and '.'")
    return given or re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name).strip("_.-") or "photos"


def _check_llm(model: str | None) -> None:
    if model is not None and not (os.environ.get(KEY) or os.environ.get(ADDRESS)):
        raise InputError(f"--llm: no server for {model}; set {KEY} for OpenAI, or {ADDRESS} for your own server")


def _print_summary(
    source: str,
    manifest: Manifest,
    left_out: Sequence[Path],
    config: Mapping[str, Any],
    proposal: Proposal,
    expected: Estimate,
) -> None:
    """Print what was found, what is proposed, and what it costs."""
    console = _console()
    bare = sum(not record.labels for record in manifest.records)
    tags = ", ".join(f"{name} {count}" for name, count in proposal.classes.items())
    without = f"{bare} with an empty row, {len(left_out)} skipped without a row"
    masks = f"for {sum(r.scored for r in manifest.records)} images: scored on {' and '.join(proposal.splits)}"
    (_, network, missing), *_ = weights(config)
    _, room, full = disk(config, expected)
    table = Table("what", "found", title=f"pcc init: {manifest.dataset.name}", title_justify="left", show_header=False)
    for row in (
        ("images", f"{len(manifest.records)}; {source}"),
        ("classes", f"{len(proposal.classes)}: {tags}"),
        ("without labels", "none" if not bare + len(left_out) else without),
        ("split", f"{proposal.train} train, {proposal.val} val"),
        ("masks", masks if proposal.splits else "none, so nothing is scored"),
        ("network", f"{network}; {proposal.image_size} pixels"),
        ("runs on", "the GPU" if device() == "cuda" else f"the CPU, {os.cpu_count()} cores"),
        ("disk", room),
    ):
        table.add_row(row[0], escape(row[1]))
    console.print(table)
    console.print("\nExpected on this machine, one job after another, an order of magnitude:")
    console.print(times_table(expected))
    for line in [*doubts(manifest), *(line for line in (missing, full) if line), *_reservations(expected)]:
        console.print(f"[yellow]check:[/] {escape(line)}")


def _reservations(expected: Estimate) -> Iterator[str]:
    """What makes the run or its estimate other than it should be."""
    if not expected.refinements:
        yield "this machine is busy: masks are left out of the estimate, the rest is too high"
    pixels = expected.images.pixels
    if pixels > LARGE_PHOTO:
        yield (
            f"images have {pixels / 1e6:.0f} million pixels: masks take {pixels / 1.9e5:.0f} times as long as of "
            "web images; smaller copies are enough"
        )


def _print_next_steps(output: Path, proposal: Proposal) -> None:
    masks = f"results/{proposal.name}/pcc/seed-0/cam/{REFINEMENT}/pseudo_masks/000"
    console = _console()
    console.print(f"\n{output}: written, with a reason for each choice. Next:", highlight=False)
    for command in (
        f"snakemake --cores {os.cpu_count()} --configfile {output}",
        f"pcc inspect {masks} --output sheet.png",
    ):
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)
