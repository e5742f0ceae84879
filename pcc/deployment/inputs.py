"""From files, folders and patterns to images, and the name under which each one's results are stored."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcc.data import image_ids as ids
from pcc.data.images import FOREIGN, SUFFIXES
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


def find_images(given: Sequence[str], without: Sequence[Path] = ()) -> tuple[list[InputImage], str | None]:
    """The images behind files, folders and patterns, each once, in the order given.

    A result is named after the image's path below the folder or pattern it was found by, as in a data set:
    ``cats/1.jpg`` → ``cats__1``. Where two would have one name, all that do are named by their path below the folder
    that they share, and then with their suffix.

    Args:
        given: files, folders (searched recursively, links followed) and quoted patterns.
        without: folders of results, whose files are not images to predict.

    Returns:
        The images, and a line about those of unsupported formats beside them, if there are any.

    Raises:
        InputError: a path that does not exist, a folder or pattern without an image, or two images that cannot be
            stored under different names.
    """
    found: dict[Path, tuple[Path, str]] = {}
    problems, unreadable = [], dict[Path, None]()
    results = [_real(folder) for folder in without]
    for one in given:
        files, others = [], []
        for path, name in _files(one):
            if any((_real(path.parent) / path.name).is_relative_to(folder) for folder in results):
                continue
            if path.suffix.lower() in FOREIGN and path != Path(one):
                others.append(path)
            else:
                files.append((path, name))
        unreadable |= dict.fromkeys(map(_absolute, others))
        if not files:
            left = f"; {_counted(others)}" if others else ""
            problems.append(f"{one}: {_nothing(one)}{left}")
        for path, name in files:
            found.setdefault(_absolute(path), (path, name))
    if problems:
        raise InputError(problems)
    images = [InputImage(path, name, ids.from_file_name(name)) for path, name in found.values()]
    images = _renamed(images, [ids.from_file_name(name) for name in _below_common(images)])
    images = _renamed(images, [ids.from_file_name(f"{name}.*") for name in _below_common(images)])
    if doubles := _doubles(images):
        first, second, *_ = [p for p in doubles if p.image_id.casefold() == doubles[0].image_id.casefold()]
        raise InputError(f"{first.path} and {second.path}: both would be stored as {first.image_id}; rename one")
    return images, _counted([*unreadable]) if unreadable else None


def _files(one: str) -> Iterator[tuple[Path, str]]:
    """Files behind one argument, and their names below its folder."""
    path = Path(one)
    if path.is_dir():
        yield from _walk(path, path)
    elif path.exists():
        yield path, path.name
    elif glob.has_magic(one):
        root, wanted = _fixed_part(path), {path.suffix.lower(), *SUFFIXES, *FOREIGN}
        for match in map(Path, sorted(glob.glob(one, recursive=True))):  # noqa: PTH207 - pathlib refuses absolute ones
            if match.is_dir():
                yield from _walk(match, root)
            elif match.suffix.lower() in wanted:
                yield match, match.relative_to(root).as_posix()


def _walk(folder: Path, root: Path) -> Iterator[tuple[Path, str]]:
    top, linked = _real(folder), set[Path]()
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if not (here / name).is_symlink() or _is_new(here / name, top, linked)]
        for name in sorted(files):
            path = here / name
            if path.suffix.lower() in (*SUFFIXES, *FOREIGN) and not name.startswith("."):
                yield path, path.relative_to(root).as_posix()


def _is_new(link: Path, top: Path, linked: set[Path]) -> bool:
    """Whether a linked folder is none that is walked anyway: below ``top``, linked before, or around the link."""
    target = _real(link)
    if target in linked or target.is_relative_to(top) or _real(link.parent).is_relative_to(target):
        return False
    linked.add(target)
    return True


def _counted(unreadable: Sequence[Path]) -> str:
    names = ", ".join(f"{path.name!s:.60}" for path in unreadable[:3]) + ", …" * (len(unreadable) > 3)
    count = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
    return f"left out {count} of unsupported formats ({names}); convert them to JPEG or PNG"


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
    """An absolute path without ``..``, and with symbolic links as they are: two links to one file are two images."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve would follow the links


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
