"""Tool `gallery`: a data set's results → a page to look through them, opened from the file system."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from pcc.data.manifest import Dataset, Manifest, Record
from pcc.gallery.data import page_data, write_page
from pcc.gallery.layers import Facts, Job, Layer, is_fresh, jobs, make, read_made, write, write_made
from pcc.reporting.experiments import Step, experiments_of, find_steps
from pcc.results import MANIFEST
from pcc.runtime.errors import InputError
from pcc.runtime.ownership import claimed
from pcc.runtime.parallel import map_in_processes
from pcc.runtime.progress import log, track
from pcc.scoring.counting import chunked

CHUNK, SAMPLE = 8, 3
T = TypeVar("T")
BLOCK = 4096  # a file takes whole blocks of the disk
MIB = 2**20


def gallery(
    results: Path, output: Path | None = None, *, limit: int | None = None, only: Sequence[str] = (), threads: int = 1
) -> None:
    """Write ``index.html`` and what it shows: images, maps, masks, and each image's scores.

    Pictures are made for images that have none or whose files have changed since. An image that cannot be read is a
    card that says so.

    Args:
        results: folder of a data set's results, ``results/NAME``.
        output: folder to write; ``gallery`` in the results by default.
        limit: at most so many images, evenly spread over the manifest.
        only: where given, only experiments whose folder, such as ``pcc/seed-0/cam``, has one of these words in it.
        threads: processes.

    Raises:
        InputError: not a folder of results, an image id that is no plain file name, or too little disk.
    """
    data = read_results(results)
    records = spread(data.records, limit)
    steps = [step for step in find_steps(results) if not only or any(word in step.path for word in only)]
    if only and not steps:
        raise InputError(f"{results}: no experiment has {' or '.join(only)} in its path; see --only")
    home = output or results / "gallery"
    layers = layers_of(data.dataset, steps)
    with claimed(home, "gallery", "inside"):
        facts = update(layers, located(records, results), home, threads)
        write_page(home, page_data(results, data.dataset, records, steps, experiments_of(steps), facts))
    log.info("open %s in a browser", home / "index.html")


def read_results(results: Path) -> Manifest:
    """The manifest of a folder of results.

    Raises:
        InputError: no such folder, no manifest in it, or an image id that could lead out of the gallery.
    """
    if not results.is_dir():
        raise InputError(f"{results}: no such folder; name a data set's results, such as results/shapes")
    manifest = results / MANIFEST
    if not manifest.is_file():
        raise InputError(f"{results}: not a data set's results, as there is no data/manifest.csv in it")
    return Manifest.read(manifest)


def spread(records: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` records at equal distances, the first among them; all where there are not more."""
    if limit is None or limit >= len(records):
        return list(records)
    return [records[i * len(records) // limit] for i in range(limit)]


def located(records: Sequence[Record], results: Path) -> list[Record]:
    """Records with paths that lead from here: manifests are relative to where the workflow ran, above the results."""
    folders, few = (Path(), *results.absolute().parents), records[:20]  # some may be missing
    there = (folder for folder in folders if any((folder / r.image).is_file() for r in few))
    home = next(there, Path())
    return [replace(r, image=home / r.image, mask=r.mask and home / r.mask) for r in records]


def layers_of(dataset: Dataset, steps: Sequence[Step]) -> list[Layer]:
    """Images and ground truth, then every step."""
    layer = partial(Layer, num_classes=dataset.num_classes, eval_ids=dataset.eval_ids)
    return [
        layer("photos", "photos", ()),
        layer("truth", "truth", ()),
        *(layer(f"steps/{step.path}/{step.kind}", step.kind, step.inputs) for step in steps),
    ]


def update(layers: Sequence[Layer], records: Sequence[Record], output: Path, threads: int) -> list[dict[str, Facts]]:
    """Make what is missing or has changed; facts by image id, for each layer.

    Raises:
        InputError: the disk has no room for what is to be made.
    """
    known = [read_made(layer, output) for layer in layers]
    there: list[set[str]] = [set() for _ in layers]
    stale: list[set[str]] = [set() for _ in layers]
    for number, layer in enumerate(layers):
        for job in jobs(layer, records):
            there[number].add(job.record.image_id)
            if not is_fresh(job, known[number], output):
                stale[number].add(job.record.image_id)

    def pending(number: int) -> Iterator[Job]:
        return jobs(layers[number], [r for r in records if r.image_id in stale[number]])

    announce([(len(ids_), partial(pending, n)) for n, ids_ in enumerate(stale) if ids_], output)
    work = chain.from_iterable(pending(number) for number, ids_ in enumerate(stale) if ids_)
    numbers = {layer.folder: number for number, layer in enumerate(layers)}
    total = sum(map(len, stale))
    done = chain.from_iterable(map_in_processes(partial(_write_chunk, output), chunked(work, CHUNK), threads))
    try:
        for folder, image_id, facts in track(done, "gallery", total) if total else ():
            known[numbers[folder]][image_id] = facts
    finally:  # what a stopped run has made is not made again
        for layer, images, changed in zip(layers, known, stale, strict=True):
            if changed:
                write_made(layer, output, images)
    return [{i: images[i] for i in inside} for images, inside in zip(known, there, strict=True)]


def announce(work: Sequence[tuple[int, Callable[[], Iterator[Job]]]], output: Path) -> None:
    """Say how many pictures are to be made and how much disk they will take, judged by the first few of each layer.

    Raises:
        InputError: there is less room than that.
    """
    expected = 0.0
    for count, pending in work:
        sizes = [
            sum(-(-len(content) // BLOCK) * BLOCK for content in make(job).files.values())
            for job in islice(pending(), SAMPLE)
        ]
        expected += count * sum(sizes) / max(1, len(sizes))
    there = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if expected > free:
        raise InputError(
            f"{output}: the gallery needs about {expected / MIB:.0f} MiB and {free / MIB:.0f} MiB are free; "
            "set --limit, --only, or another --output"
        )
    count = sum(number for number, _ in work)
    log.info("gallery: %d pictures to make, about %.0f MiB; %.0f MiB free", count, expected / MIB, free / MIB)


def _write_chunk(output: Path, chunk: Sequence[Job]) -> list[tuple[str, str, Facts]]:
    return [write(job, output) for job in chunk]
