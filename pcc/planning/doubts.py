"""Oddities of labels and images that may be intended: `pcc init` reports them before anything runs."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pcc.data.manifest import SPLITS, Manifest, Record
from pcc.runtime.files import digest

ALIKE = 0.8  # likeness of two names, 0..1, above which one may be a slip of the other


def tag_counts(records: Iterable[Record], classes: Iterable[str]) -> dict[str, int]:
    """Number of images labelled with each class."""
    met = Counter(tag for record in records for tag in record.labels)
    return {name: met[name] for name in classes}


def untagged(files: Iterable[Path], manifest: Manifest) -> list[Path]:
    """Image files that no record is of."""
    known = {record.image.resolve() for record in manifest.records}
    return [file for file in files if file.resolve() not in known]


def untrained_classes(manifest: Manifest) -> Iterator[str]:
    """Classes that nothing could be learned of, as no training image has them; one line each."""
    members = {split: [r for r in manifest.records if r.split == split] for split in SPLITS}
    trained, tested = (tag_counts(members[split], manifest.dataset.classes) for split in SPLITS)
    for name, count in trained.items():
        if not count:
            yield (
                f"data set {manifest.dataset.name}: class '{name}' has no training image ({tested[name]} in val); "
                "add some, remove the label, or change --val-share"
            )


def doubts(manifest: Manifest) -> Iterator[str]:
    """What a person should look at; one line each."""
    counts = tag_counts(manifest.records, manifest.dataset.classes)
    for name, count in counts.items():
        if count < 2:
            yield f"class '{name}' has {count} image; two are the least to learn from, ten are better"
    for rare, common in slips(counts):
        yield f"labels '{rare}' ({counts[rare]}) and '{common}' ({counts[common]}): two classes, or a typing error?"
    for first, *others in same_files([record.image for record in manifest.records]):
        yield f"{first}: the same file as {', '.join(map(str, others))}; keep one, with all its labels"


def slips(counts: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Pairs of names that differ by a slip: in case, or by a letter or two where one is rare (a tenth of the other)."""
    names = sorted(counts, key=lambda name: (counts[name], name))
    for i, rare in enumerate(names):
        for common in names[i + 1 :]:
            same = rare.casefold() == common.casefold()
            near = difflib.SequenceMatcher(None, rare.casefold(), common.casefold()).ratio() >= ALIKE
            if same or (near and 10 * counts[rare] <= counts[common]):
                yield rare, common


def same_files(files: Sequence[Path]) -> list[list[Path]]:
    """Groups of files with the same bytes; only files of one size are read."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in dict.fromkeys(files):
        by_size[file.stat().st_size].append(file)
    by_digest: dict[str, list[Path]] = defaultdict(list)
    for alike in by_size.values():
        for file in alike if len(alike) > 1 else ():
            by_digest[digest(file)].append(file)
    return [group for group in by_digest.values() if len(group) > 1]
