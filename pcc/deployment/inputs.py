"""From files, folders and patterns to images, and the name under which each one's results are stored."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcc.data import image_ids as ids
from pcc.data.images import SUFFIXES
from pcc.runtime.errors import InputError


@dataclass(frozen=True)
class InputImage:
    """One image.

    Attributes:
        path: its file.
        name: its path below the folder it was found in, with ``/``.
        image_id: the name of its results.
    """

    path: Path
    name: str
    image_id: str


def find_images(given: Sequence[str], without: Sequence[Path] = ()) -> list[InputImage]:
    """The images behind files, folders and patterns, each once, in the order given.

    A result is named after the image's path below the folder or pattern it was found by, as in a data set:
    ``cats/1.jpg`` → ``cats__1``. Where two would have one name, all that do are named by their path below the folder
    that they share, and then with their suffix.

    Args:
        given: files, folders (searched recursively) and quoted patterns.
        without: folders of results, whose files are not images to predict.

    Raises:
        InputError: a path that does not exist, a folder or pattern without an image, or two images that cannot be
            stored under different names.
    """
    found: dict[Path, tuple[Path, str]] = {}
    problems = []
    results = [_absolute(folder) for folder in without]
    for one in given:
        files = [f for f in _files(one) if not any(_absolute(f[0]).is_relative_to(r) for r in results)]
        if not files:
            problems.append(f"{one}: {_nothing(one)}")
        for path, name in files:
            found.setdefault(_absolute(path), (path, name))
    if problems:
        raise InputError(problems)
    images = [InputImage(path, name, ids.from_file_name(name)) for path, name in found.values()]
    images = _renamed(images, [ids.from_file_name(name) for name in _below_common(images)])
    images = _renamed(images, [ids.from_file_name(f"{name}.*") for name in _below_common(images)])
    if doubles := _doubles(images):
        first, second, *_ = [p for p in images if p.image_id == doubles[0].image_id]
        raise InputError(f"{first.path} and {second.path}: both would be stored as {first.image_id}; rename one")
    return images


def _files(one: str) -> Iterator[tuple[Path, str]]:
    """Files behind one argument, and their names below its folder."""
    path = Path(one)
    if path.is_dir():
        yield from _walk(path, path)
    elif path.exists():
        yield path, path.name
    elif glob.has_magic(one):
        root, wanted = _fixed_part(path), {path.suffix.lower(), *SUFFIXES}
        for match in map(Path, sorted(glob.glob(one, recursive=True))):  # noqa: PTH207 - pathlib refuses absolute ones
            if match.is_dir():
                yield from _walk(match, root)
            elif match.suffix.lower() in wanted:
                yield match, match.relative_to(root).as_posix()


def _walk(folder: Path, root: Path) -> Iterator[tuple[Path, str]]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path, path.relative_to(root).as_posix()


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first one that holds a wildcard."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _nothing(one: str) -> str:
    if Path(one).is_dir():
        return f"no image in this folder ({', '.join(SUFFIXES)})"
    if glob.has_magic(one):
        return "no file fits this pattern"
    return "no such file or folder"


def _doubles(images: Iterable[InputImage]) -> list[InputImage]:
    # Some file systems do not tell cases apart, and results travel.
    counts = Counter(image.image_id.casefold() for image in images)
    return [image for image in images if counts[image.image_id.casefold()] > 1]


def _renamed(images: Sequence[InputImage], names: Sequence[str]) -> list[InputImage]:
    """The images, those that share a name under another."""
    doubles = set(_doubles(images))
    return [
        InputImage(image.path, image.name, name) if image in doubles else image
        for image, name in zip(images, names, strict=True)
    ]


def _below_common(images: Sequence[InputImage]) -> list[str]:
    """Every image's path below the one folder that all that share a name lie in."""
    shared = [_absolute(image.path).parent for image in _doubles(images)]
    if not shared:
        return [image.name for image in images]
    common = os.path.commonpath(shared)
    return [Path(os.path.relpath(_absolute(image.path), common)).as_posix() for image in images]


def _absolute(path: Path) -> Path:
    """Without ``..``, and with symbolic links as they are: two links to one file are two images."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve would follow the links
