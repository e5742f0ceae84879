"""Whether images and masks are still the files that `prepare` read."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pcc.runtime.files import digest

DIGITS = 16  # of SHA-256


def stamp(path: Path, with_digest: bool = True) -> str:
    """Size in bytes and digest of a file, as ``1234-0a1b2c3d4e5f6a7b``; without the digest, its size."""
    size = str(path.stat().st_size)
    return f"{size}-{digest(path)[:DIGITS]}" if with_digest else size


def changed_files(stamped: Iterable[tuple[Path, str]], since: int) -> Iterator[str]:
    """Files that are missing or hold something else, each with what happened to it.

    A file of the same size that no one has touched since the stamp is not read.

    Args:
        stamped: files with their `stamp`; an empty one is not checked.
        since: when the stamps were made, nanoseconds.
    """
    for path, known in stamped:
        if not known:
            continue
        size, _, sha = known.partition("-")
        if not path.is_file():
            yield f"{path} (missing)"
            continue
        found = path.stat()
        # Replacing a file by an older one changes its ctime.
        touched = max(found.st_mtime_ns, found.st_ctime_ns) > since
        if str(found.st_size) != size or (touched and sha and digest(path)[:DIGITS] != sha):
            yield f"{path} (changed)"
