"""The images in a folder and in the folders inside it: links, results, foreign formats, masks among images."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pcc.data.images import FOREIGN, SUFFIXES
from pcc.runtime.errors import InputError, name_some
from pcc.runtime.image_files import opened

JUNK = ("__macosx", "@eadir", "$recycle.bin", "lost+found")  # of operating systems, beside what is hidden
RESULTS = ("data/provenance.json", "predictions.json")  # in a folder of results, and in one of `pcc predict`
# A folder called so, in any case and with any signs between, holds masks: ground_truth, SegmentationClass, gt.
MASK_FOLDER = re.compile(
    "(seg(mentation|ment|s)?s?(class|object)?(aug|raw)?)?(masks?|groundtruths?|gts?|annots?|annotations?|labels?|labelmaps?"
    "|labelids|pixellabels|segmaps?|trimaps?|gtfine)|seg(mentation|mentations|s)?|segmentation(class|object)(aug|raw)?"
)
# What stands behind an image's name in a mask's.
MASK_ENDING = re.compile(
    r"[_. -](masks?|gts?|seg|segmentation|labels?|labelids|labeltrainids|annotation|ground_?truth|trimap)$",
    re.IGNORECASE,
)
FEW_COLOURS, LOOKED_AT = 32, 8


@dataclass
class Tree:
    """What is below a folder.

    Attributes:
        files: the images, sorted.
        foreign: files of formats that are not read.
        left_out: folders that are not read, with the reason.
    """

    files: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def notes(self, folder: Path) -> list[str]:
        """What was passed over, one line each kind."""
        if not self.foreign:
            return self.left_out
        names = name_some([file.relative_to(folder).as_posix() for file in self.foreign])
        count = f"{len(self.foreign)} file{'s' * (len(self.foreign) != 1)} of unsupported formats left out"
        return [*self.left_out, f"{folder}: {count}: {names}; convert them to JPEG or PNG to use them"]


def look_through(folder: Path, without: Collection[Path] = ()) -> Tree:
    """Find all images below a folder; links to folders are followed, hidden files and folders of results are not read.

    Args:
        folder: where to look.
        without: folders inside it that hold something else, such as masks or results.

    Raises:
        InputError: a folder cannot be read, or is a link to another that is read too.
    """
    tree = Tree()
    root = folder.resolve()
    kept_out = {path.resolve() for path in without} - {root, *root.parents}
    linked: dict[Path, Path] = {}  # the folders that links lead to
    for place in _folders(folder, root, (), kept_out, tree.left_out, linked):
        for file in _entries(place):
            suffix = file.suffix.lower()
            if suffix in (*SUFFIXES, *FOREIGN) and not file.name.startswith(".") and not file.is_dir():
                (tree.files if suffix in SUFFIXES else tree.foreign).append(file)
    if double := [f"{link} -> {real}" for real, link in linked.items() if root in real.parents]:
        raise InputError(
            f"{folder}: links to folders that are inside it too: {name_some(double)}; remove one of each pair, or "
            "their images are read twice"
        )
    tree.files.sort()
    tree.foreign.sort()
    return tree


def _folders(
    place: Path,
    real: Path,
    above: tuple[Path, ...],
    kept_out: Collection[Path],
    left_out: list[str],
    linked: dict[Path, Path],
) -> Iterator[Path]:
    """A folder and those inside it; ``real`` is its resolved path, ``above`` those of the folders around it."""
    yield place
    for inner in _entries(place):
        if inner.name.startswith(".") or inner.name.casefold() in JUNK or not inner.is_dir():
            continue
        target = inner.resolve()
        if target in kept_out:
            continue
        if target in (*above, real):
            left_out.append(f"{inner}: link to a folder around it; left out")
        elif any((inner / name).is_file() for name in RESULTS):
            left_out.append(f"{inner}: results, not images; left out")
        else:
            if inner.is_symlink():
                linked.setdefault(target, inner)
            yield from _folders(inner, target, (*above, real), kept_out, left_out, linked)


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError as error:
        raise InputError(f"{place}: folder cannot be read ({error.strerror}); check its permissions") from error


def is_mask_folder(name: str) -> bool:
    """Whether a folder is called as those of masks are."""
    return bool(MASK_FOLDER.fullmatch("".join(sign for sign in name.casefold() if sign.isalnum())))


def without_mask_ending(stem: str) -> str:
    """The image's name in a mask's: ``p0_mask`` → ``p0``; others stay as they are."""
    return MASK_ENDING.sub("", stem) or stem


def masks_among(folder: Path, files: Sequence[Path]) -> list[str]:
    """Masks that would be taken for images, one line for each folder of them and one for those beside their images."""
    by_folder: dict[str, list[Path]] = {}
    for file in files:
        parts = file.relative_to(folder).parts
        by_folder.setdefault(parts[0] if len(parts) > 1 else "", []).append(file)
    problems = []
    for name, members in by_folder.items():
        others = {file.stem for other, files in by_folder.items() if other != name for file in files}
        if name and (is_mask_folder(name) or _look_like_masks(members, others)):
            problems.append(
                f"{folder / name}: looks like a folder of masks, not a class ({len(members)} files); name it as masks, "
                "or move it out (if it is a class, rename it)"
            )
    images, stems = {f.with_suffix("") for f in files if f.suffix.lower() != ".png"}, {f.with_suffix("") for f in files}
    beside = [
        file.relative_to(folder).as_posix()
        for file in files
        if ((stem := without_mask_ending(file.stem)) != file.stem and file.with_name(stem) in stems)
        or (file.suffix.lower() == ".png" and file.with_suffix("") in images and _colours(file) > 1)
    ]
    if beside and not problems:
        problems.append(
            f"{folder}: {len(beside)} files look like masks of images beside them: {name_some(beside)}; "
            "move them into a folder of masks, named as their images"
        )
    return problems


def _look_like_masks(files: Sequence[Path], others: Collection[str]) -> bool:
    """Whether files are PNGs of few colours, most of them named as images elsewhere."""
    named = sum(without_mask_ending(file.stem) in others for file in files)
    if 2 * named < len(files) or any(file.suffix.lower() != ".png" for file in files):
        return False
    counts = [_colours(file) for file in files[:: max(1, len(files) // LOOKED_AT)]]
    return all(counts) and max(counts) > 1


def _colours(file: Path) -> int:
    """The number of an image's colours; 0 where there are more than a mask has, or the file cannot be read."""
    try:
        with opened(file, "image", "", formats=["PNG"]) as image:
            return len(image.getcolors(FEW_COLOURS) or ())
    except InputError:
        return 0
