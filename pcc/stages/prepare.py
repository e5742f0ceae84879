"""Stage `prepare`: data set → manifest.csv and dataset.json, or a report of all problems."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from pcc.artifacts.provenance import Job
from pcc.data.checks import find_problems
from pcc.data.classes import did_you_mean
from pcc.data.manifest import SPLITS, Record
from pcc.data.stamps import stamp
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.plugins import load_attribute
from pcc.runtime.progress import log, track
from pcc.runtime.stage import stage


@stage(writes="inside")
def prepare(
    output: Path,
    *,
    name: str,
    format: str,
    settings: Mapping[str, Any],
    shards: Mapping[str, int],
    eval_classes: Sequence[str] | None = None,
    verify: str = "full",
    allow_unlabelled: bool = False,
    threads: int = 1,
) -> None:
    """Read, check and shard a data set; write its manifest.

    Args:
        output: folder of manifest.csv, dataset.json and provenance.json.
        name: name of the data set.
        format: reader, a module of `pcc.readers`.
        settings: settings of the reader.
        shards: number of shards by split; default 1.
        eval_classes: foreground classes to score; default all.
        verify: ``full`` decodes every image; ``headers`` reads image headers only.
        allow_unlabelled: accept training images without labels as background only.
        threads: images decoded in parallel.

    Raises:
        InputError: all problems found; nothing is written.
    """
    reader = load_attribute("pcc.readers", format, "read", "dataset.format")
    manifest = call_with(reader, settings, "dataset.settings", output=output)
    notes = list(manifest.notes)
    known = manifest.dataset.classes
    problems = [
        f"dataset.eval_classes: unknown class '{wanted}'{did_you_mean(wanted, known)}; correct it"
        for wanted in eval_classes or ()
        if wanted not in known
    ]
    if not problems:
        dataset = replace(manifest.dataset, name=name, eval_classes=tuple(eval_classes or known))
        manifest = replace(manifest, dataset=dataset)
    problems += _shard_problems(manifest.records, shards)
    problems += find_problems(manifest, verify=verify, allow_unlabelled=allow_unlabelled, threads=threads, notes=notes)
    for note in notes:
        log.warning("%s", note)
    if problems:
        raise InputError(problems)
    records = stamped(assign_shards(manifest.records, shards), verify == "full", threads)
    manifest = replace(manifest, records=records)
    job = Job(
        {
            "name": name,
            "format": format,
            "settings": settings,
            "shards": shards,
            "eval_classes": eval_classes,
            "verify": verify,
            "allow_unlabelled": allow_unlabelled,
        },
        manifest.sources,
    )
    job.write_provenance(output, manifest.write(output))
    for split, number in Counter(record.split for record in manifest.records).items():
        log.info("%s: %d %s images", name, number, split)


def assign_shards(records: Sequence[Record], shards: Mapping[str, int]) -> tuple[Record, ...]:
    """Assign each split's records to contiguous shards whose sizes differ by at most one."""
    totals, seen = Counter(record.split for record in records), Counter[str]()
    numbered = []
    for record in records:
        shard = seen[record.split] * shards.get(record.split, 1) // totals[record.split]
        seen[record.split] += 1
        numbered.append(replace(record, shard=f"{shard:03d}"))
    return tuple(numbered)


def stamped(records: Sequence[Record], with_digest: bool, threads: int) -> tuple[Record, ...]:
    """The records with the stamps of their images and masks, by which later stages know that nothing has changed."""

    def one(record: Record) -> Record:
        image = stamp(record.image, with_digest)
        return replace(record, image_stamp=image, mask_stamp="" if record.mask is None else stamp(record.mask))

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return tuple(track(pool.map(one, records), "reading images again for their digests", len(records)))


def _shard_problems(records: Sequence[Record], shards: Mapping[str, int]) -> list[str]:
    totals = Counter(record.split for record in records)
    problems = []
    for split, number in shards.items():
        if split not in SPLITS:
            problems.append(f"dataset.shards: '{split}' is not one of {', '.join(SPLITS)}")
        elif not isinstance(number, int) or number < 1:
            problems.append(f"dataset.shards.{split}: {number} is invalid; it must be an integer of at least 1")
        elif number > totals[split] > 0:
            problems.append(f"dataset.shards.{split}: {number} shards for {totals[split]} images; use fewer shards")
    return problems
