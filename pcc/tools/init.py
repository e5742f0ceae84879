"""Propose a configuration for a folder of labelled images, and estimate what it costs."""

import difflib
import math
import os
import re
import shlex
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
from pcc.data.checks import Ways, find_problems
from pcc.data.manifest import SPLITS, Manifest
from pcc.models.backbones import Backbone
from pcc.planning.doubts import doubts, tag_counts, untagged, untrained_classes
from pcc.planning.estimate import Estimate, Images, mean_pixels
from pcc.planning.findings import disk, times_table, weights
from pcc.planning.measuring import TYPICAL, frozen_memory, measure, memory
from pcc.planning.proposal import BATCH, REFINEMENT, SIZES, Proposal, configuration
from pcc.planning.sniff import look
from pcc.readers import folder as reader
from pcc.runtime.errors import InputError, Problem, call_with
from pcc.runtime.files import write_text
from pcc.runtime.hardware import device

STRIDE = 16
NETWORK = "tf_efficientnet_lite0"  # small enough for a laptop, and the one that the recipe was measured with
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of the schema
MEMORY_SHARE = 0.5  # of the memory, for training; the rest is for images, workers and what else runs
IMAGES_PER_SHARD = 500  # of web images, some minutes of a CRF
MOST_SHARDS = 999
LISTS = (".yaml", ".yml")
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
    classes: str | None = None,
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
        classes: names in the order of their ids in the masks, separated by commas, or a class list in YAML; None: the
            labels, sorted.
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
    if not 0 <= val_share <= 1:
        raise InputError(f"--val-share: {val_share} is not between 0 and 1")
    title = _name(folder, name)
    _check_llm(llm)
    found = look(folder, tags=tags, masks=masks, image_column=image_column, tags_column=tags_column)
    settings: dict[str, Any] = dict(found.settings)
    if "split_column" not in settings:
        settings["val_share"] = val_share
    if classes is not None:
        settings["classes"] = classes if classes.endswith(LISTS) else [name.strip() for name in classes.split(",")]
    manifest = call_with(reader.read, settings, "dataset.settings", output=output)
    manifest = replace(manifest, dataset=replace(manifest.dataset, name=title))
    left_out = untagged(found.files, manifest)
    notes = [*found.notes, *manifest.notes]
    ways = Ways("pass --allow-unlabelled", _order_option)
    problems = find_problems(manifest, allow_unlabelled=allow_unlabelled, threads=threads, notes=notes, ways=ways)
    if not skip_untagged:
        advice = "add one, or skip such images with --skip-untagged"
        problems += [
            Problem(
                f"{file}: image has no row in {settings['tags']}; {advice}",
                file.name,
                f"{{count}} images have no row in {settings['tags']}: {{names}}; {advice}",
            )
            for file in left_out
        ]
    # With faulty rows left out, classes look emptier than they are.
    if problems := problems or list(untrained_classes(manifest)):
        raise InputError(problems)
    network, is_vit = find_network(weights_file)
    proposal = Proposal(
        name=title,
        reader={key: value for key, value in settings.items() if key != "classes"},  # written one by one
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
    _print_summary(found.summary, manifest, left_out, complete(yaml.safe_load(text)), proposal, expected, notes)
    _print_next_steps(output, proposal)


def _order_option(order: Sequence[str]) -> str:
    if any("," in name for name in order):
        return "pass a class list of this order, --classes FILE.yaml"
    return f"pass --classes {shlex.quote(','.join(order))}"


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
    """The largest images that memory allows, and jobs of a bounded number of images.

    Both depend on the data and the machine alone, so a busy machine gets the same proposal.

    Raises:
        InputError: a part of the configuration cannot be used here.
    """
    per_pixel, fixed = frozen_memory(proposal.network)
    room = memory() * MEMORY_SHARE - fixed
    fitting = [size for size in SIZES if BATCH * size**2 * per_pixel <= room]
    size = fitting[0] if fitting else SIZES[-1]
    why = (
        "smaller is quicker and coarser"
        if size == SIZES[0]
        else f"more would not fit this machine's memory; {SIZES[0]} is better"
    )
    per_shard = IMAGES_PER_SHARD / max(1.0, images.pixels / math.prod(TYPICAL))
    shards = {
        split: max(1, min(count, MOST_SHARDS, math.ceil(count / per_shard)))
        for split, count in (("train", images.train), ("val", images.val))
    }
    proposal = replace(proposal, image_size=size, why_size=why, shards=shards)
    config = complete(yaml.safe_load(configuration(proposal, "")))
    networks, refinements, problems = measure(config)
    if problems:
        raise InputError(problems)
    return proposal, Estimate(config, images, networks, refinements, threads)


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
    notes: Sequence[str],
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
    for line in [*notes, *doubts(manifest), *(line for line in (missing, full) if line), *_reservations(expected)]:
        console.print(f"[yellow]check:[/] {escape(line)}")


def _reservations(expected: Estimate) -> Iterator[str]:
    """What makes the run or its estimate other than it should be."""
    if any(map(math.isnan, expected.seconds.values())):
        yield "measuring took too long on this machine: some times are not known"
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
