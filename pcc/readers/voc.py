"""Trees laid out like PASCAL VOC 2012: JPEGImages, SegmentationClass, ImageSets, and Annotations if there.

Masks may be missing, one by one or all; such images are not scored.
"""

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pcc.data import image_ids as ids
from pcc.data.classes import read_classes
from pcc.data.images import find_image
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.readers.labels import SOURCES, LabelSource
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import ClassNames, File, Name, SettingsOf, limits

# Everingham et al. 2010, table 1.
TAXONOMY = {
    "person": ("person",),
    "animal": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "indoor": ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"),
}
CLASSES = tuple(sorted(name for group in TAXONOMY.values() for name in group))  # VOC's order is the alphabet's
SPLIT_LISTS = {"train": "train_aug", "val": "val"}


def read(
    output: Path,  # noqa: ARG001 - every reader has it
    *,
    root: File,
    labels: Annotated[Mapping[str, Any], SettingsOf("pcc.readers.labels:Labels")],
    splits: Annotated[Mapping[Name, File], limits(min_length=1, max_length=2)] = SPLIT_LISTS,
    score_train: File | None = None,
    masks: File = "SegmentationClass",
    classes: ClassNames | File | None = None,
) -> Manifest:
    """Read a VOC tree; nothing is written.

    Args:
        output: folder of the data set, unused here.
        root: the folder that holds JPEGImages.
        labels: ``source`` (xml, masks, csv, npy) and its own settings: ``path`` (by default the tree's
            Annotations or masks; required for csv and npy), and for csv ``column`` and ``separator``. See
            `pcc.readers.labels`.
        splits: split → name of its list in ImageSets/Segmentation, or the path of a list of ids.
        score_train: list of the training images whose masks may be scored (``train``: the 1,464 of VOC
            itself); all that have a mask when not given.
        masks: folder of the masks inside ``root`` (the augmented ones usually lie in SegmentationClassAug).
        classes: names in the order of their ids, or a class list in YAML; VOC's 20 when not given.

    Raises:
        InputError: a setting, a list or the label source cannot be used; what is wrong with single images is
            in the manifest's ``problems``.
    """
    names, taxonomy = (CLASSES, TAXONOMY) if classes is None else read_classes(classes)
    tree = Path(root)
    lists = {split: _list_path(tree, name) for split, name in splits.items()}
    source = _label_source(tree, masks, labels, names)
    scored = None if score_train is None else set(_read_list(_list_path(tree, score_train)).values())
    records: list[Record] = []
    problems: list[str] = []
    for split, path in lists.items():
        for line, image_id in _read_list(path).items():
            where = f"{path} line {line}"
            try:
                found = _labels(source, image_id, split, where)
            except InputError as error:
                problems += error.problems
                continue
            image, mask = _image(tree / "JPEGImages", image_id), _mask(tree / masks, image_id)
            may_score = mask is not None and (split != "train" or scored is None or image_id in scored)
            records.append(Record(image_id, image, found, mask, split, scored=may_score, where=where))
    sources = tuple(lists.values()) + ((Path(labels["path"]),) if "path" in labels else ())
    return Manifest(Dataset(tree.name, names, taxonomy), tuple(records), tuple(problems), sources)


def _list_path(tree: Path, name: str) -> Path:
    return Path(name) if name.endswith(".txt") else tree / "ImageSets" / "Segmentation" / f"{name}.txt"


def _read_list(path: Path) -> dict[int, str]:
    """Line number → image id."""
    if not path.is_file():
        raise InputError(f"{path}: list of image ids is missing; check root and splits")
    content = path.read_bytes()
    # PowerShell writes UTF-16, other programs of Windows a byte-order mark.
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        lines = content.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({error.reason}); save it as UTF-8") from error
    return {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}


def _image(folder: Path, image_id: str) -> Path:
    """The image, ``.jpg`` in VOC's own trees; under that name it is missing where there is none."""
    found = None if ids.fault(image_id) else find_image(folder, image_id)
    return found or folder / f"{image_id}.jpg"


def _mask(folder: Path, image_id: str) -> Path | None:
    """The image's mask, if it has one; an id that could lead out of the folder has none."""
    path = folder / f"{image_id}.png"
    return path if ids.fault(image_id) is None and path.is_file() else None


def _label_source(tree: Path, masks: str, labels: Mapping[str, Any], classes: Sequence[str]) -> LabelSource:
    settings = dict(labels)
    name = settings.pop("source", None)
    if name not in SOURCES:
        raise InputError(f"dataset.settings.labels: source '{name}' is not one of {', '.join(SOURCES)}")
    beside = {"xml": tree / "Annotations", "masks": tree / masks}
    path = settings.pop("path", beside.get(name))
    if path is None:
        raise InputError(f"dataset.settings.labels: setting 'path' is missing; source {name} needs it")
    return call_with(SOURCES[name], settings, "dataset.settings.labels", path=Path(path), classes=classes)


def _labels(source: LabelSource, image_id: str, split: str, where: str) -> tuple[str, ...]:
    if ids.fault(image_id):
        return ()  # the checks say so; such an id must not be joined to a folder
    labels = source.labels(image_id)
    if labels is None and split == "train":
        raise InputError(
            f"{where}: training image {image_id} has no entry in the label source; add one, "
            "or take the image out of the list"
        )
    return labels or ()
