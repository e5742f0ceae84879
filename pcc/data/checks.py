"""What must hold before any training: every problem of a data set at once, one line each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pcc.artifacts.masks import mask_value_fault, read_mask_and_palette
from pcc.data import image_ids as ids
from pcc.data.classes import unknown_class
from pcc.data.images import image_size, read_image
from pcc.data.manifest import SPLITS, Dataset, Manifest, Record
from pcc.data.mask_labels import Seen, compare, see, value_hint
from pcc.runtime.errors import InputError, Problem
from pcc.runtime.progress import track

Size = tuple[int, int]


def _decoded_size(record: Record) -> Size:
    height, width, _ = read_image(record.image).shape
    return height, width


# How the size of an image is found out: by decoding it, or by trusting its header.
VERIFY: dict[str, Callable[[Record], Size]] = {"full": _decoded_size, "headers": lambda r: image_size(r.image)}


@dataclass(frozen=True)
class Ways:
    """How to mend what only the user can decide; `pcc init`, which has no configuration yet, names its options.

    Attributes:
        unlabelled: how to accept images without labels.
        order: how to give the classes in another order.
    """

    unlabelled: str = "set dataset.allow_unlabelled: true"
    order: Callable[[Sequence[str]], str] = lambda _: "set dataset.settings.classes to this order"


def find_problems(
    manifest: Manifest,
    *,
    verify: str = "full",
    allow_unlabelled: bool = False,
    threads: int = 1,
    notes: list[str] | None = None,
    ways: Ways = Ways(),
) -> list[str]:
    """All that is wrong with a data set.

    Args:
        manifest: what a reader found, with the problems it met itself.
        verify: ``full`` decodes every image; ``headers`` reads only their headers, so that damage further on
            in a file shows up only in training. Masks are read in full either way.
        allow_unlabelled: accept training images without labels as all-background.
        threads: how many images are decoded at a time.
        notes: where given, oddities that may be intended are added to it, one line each.
        ways: what messages advise.

    Returns:
        One line for each problem: where (file and line), what, and what to do; empty when all is well.

    Raises:
        InputError: ``verify`` is not one of the two.
    """
    if verify not in VERIFY:
        raise InputError(f"dataset.verify: '{verify}' is not one of {', '.join(VERIFY)}")
    problems = list(manifest.problems)
    first_seen: dict[str, Record] = {}
    for record in manifest.records:
        problems += _record_problems(record, manifest.dataset, first_seen, None if allow_unlabelled else ways)
    seen: list[Seen] = []
    problems += _file_problems(list(first_seen.values()), manifest.dataset, verify, threads, seen)
    contradictions, odd = compare(seen, manifest.dataset, ways.order)
    problems += contradictions
    if notes is not None:
        notes += odd
    # A reader leaves out the rows it has a problem with: a split that looks empty then may not be.
    present = {record.split for record in manifest.records}
    if not manifest.problems:
        name = manifest.dataset.name
        problems += [
            f"data set {name}: split {s} is empty; give it an image, or split otherwise"
            for s in SPLITS
            if s not in present
        ]
    return problems


def _record_problems(
    record: Record, dataset: Dataset, first_seen: dict[str, Record], unless_labelled: Ways | None
) -> Iterator[str]:
    """Faults of id and labels; ``first_seen`` collects the records whose files are worth opening."""
    where = record.where or f"image {record.image_id}"
    where = where if where.isprintable() else repr(where)[1:-1]  # one line, whatever files are called
    if fault := ids.fault(record.image_id):
        yield f"{where}: image id {record.image_id!r} {fault}; use a plain file name without suffix"
    elif (first := first_seen.setdefault(ids.on_disk(record.image_id), record)) is not record:
        seen = f"{first.where} (split {first.split})"
        if first.image_id == record.image_id:
            yield f"{where}: image id {record.image_id} is there twice, first at {seen}; keep one"
        else:
            same = "differ only in case or accents, which some file systems do not tell apart"
            yield f"{where}: image ids {record.image_id} and {first.image_id} ({seen}) {same}; rename one"
    if not fault and not ids.is_utf8(f"{record.image} {record.mask}"):
        yield f"{where}: the path of image {record.image_id} or of its mask is not UTF-8; rename the folder"
    for name in record.labels:
        if name not in dataset.classes:
            yield unknown_class(name, dataset.classes, where)
    if record.split not in SPLITS:
        yield f"{where}: split '{record.split}' is not one of {', '.join(SPLITS)}; rename it"
    if record.split == "train" and not record.labels and unless_labelled and not fault:
        accept = f"or {unless_labelled.unlabelled} to train on"
        yield Problem(
            f"{where}: training image {record.image_id} has no labels; label it, take it out, {accept} it as "
            "all-background",
            record.image_id,
            f"{{count}} training images have no label: {{names}}; label them, take them out, {accept} them as "
            "all-background",
        )


def _file_problems(
    records: list[Record], dataset: Dataset, verify: str, threads: int, seen: list[Seen]
) -> Iterator[str]:
    """Open every image and mask; the lines come in the order of the records, whatever the threads do."""
    opened = partial(_open_record, dataset=dataset, verify=verify)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for problems, shown in track(pool.map(opened, records), "checking images", len(records)):
            yield from problems
            seen += [shown] if shown else []


def _open_record(record: Record, dataset: Dataset, verify: str) -> tuple[list[str], Seen | None]:
    """What is wrong with the files of a record, and what its mask shows if that may be compared with the labels."""
    problems: list[str] = []
    shown = None
    size = None
    try:
        size = VERIFY[verify](record)
    except InputError as error:
        problems += error.problems
    try:
        if record.mask is not None:
            mask, palette = read_mask_and_palette(record.mask)
            height, width = mask.shape
            if size is not None and (height, width) != size:
                fitting = f"its image (EXIF orientation applied) {size[1]}x{size[0]}"
                problems.append(f"{record.mask}: mask is {width}x{height} pixels, {fitting}; make the mask fit")
            shown = see(record, dataset.classes, mask, palette)
            if fault := mask_value_fault(sorted(shown.values), dataset.num_foreground):
                problems.append(f"{record.mask}: {fault}{value_hint(shown.values, dataset.num_foreground)}")
            if fault or not set(dataset.classes).issuperset(record.labels):
                shown = None
    except InputError as error:
        problems += error.problems
    return [f"{record.where}: {problem}" if record.where else problem for problem in problems], shown
