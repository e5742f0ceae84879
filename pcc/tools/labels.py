"""Stage `labels`: image-level labels from any source → a CSV (image_id, labels) that `prepare` can read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pcc.data import image_ids as ids
from pcc.data.classes import read_classes
from pcc.data.manifest import SEPARATOR
from pcc.data.tables import csv_text
from pcc.readers import voc
from pcc.readers.instances import image_labels
from pcc.readers.labels import SOURCES
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import write_text


def labels(
    output: Path, *, source: str, path: str, classes: Sequence[str] | str | None = None, **settings: Any
) -> None:
    """Write one row for each image: its id, and its class names joined by ``;``.

    Args:
        output: the CSV to write.
        source: ``xml`` (a folder of VOC annotations), ``masks`` (a folder of PNGs), ``csv``, ``npy`` (the
            field's ``cls_labels.npy``), or ``coco`` (an instances JSON).
        path: the source's folder or file.
        classes: names in the order of their ids, or a class list in YAML; VOC's 20 when not given. COCO has
            its own.
        settings: the source's further settings; csv has ``column`` and ``separator``.

    Raises:
        InputError: every entry that cannot be read; then nothing is written.
    """
    names = voc.CLASSES if classes is None else read_classes(classes)[0]
    lookup: Callable[[str], tuple[str, ...] | None]
    if source == "coco":
        found = call_with(image_labels, settings, "labels", path=Path(path))
        image_ids, lookup = list(found), found.get
    elif source in SOURCES:
        chosen = call_with(SOURCES[source], settings, "labels", path=Path(path), classes=names)
        image_ids, lookup = chosen.ids(), chosen.labels
    else:
        raise InputError(f"labels: source '{source}' is not one of {', '.join([*SOURCES, 'coco'])}")
    problems: list[str] = []
    rows: list[tuple[str, str]] = []
    for image_id in image_ids:
        if fault := ids.fault(image_id):
            problems.append(f"{path}: image id {image_id!r:.300} {fault}; rename the entry")
            continue
        try:
            rows.append((image_id, SEPARATOR.join(lookup(image_id) or ())))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    text = csv_text(("image_id", "labels"), rows)
    if output.exists() and output.read_bytes() != text.encode():
        raise InputError(f"{output}: already exists; name another with --output, or delete it")
    write_text(output, text)
