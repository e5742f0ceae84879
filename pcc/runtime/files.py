"""Files that are whole or absent: atomic writes, digests, working folders that a killed run resumes from."""

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pcc.runtime.errors import InputError, reason
from pcc.runtime.progress import log

KEY = ".key.json"
LARGEST_JSON = 2**28  # bytes
RERUN = "delete it and run the stage that writes it"
T = TypeVar("T")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of ``path``; rename it onto ``path`` when the block succeeds, else remove it.

    The suffix is kept, because savers such as Pillow's choose the format by it.

    Raises:
        OSError: the file cannot be written; its ``filename`` is ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # A full disk is noticed by a write, which does not know the file's name.
        if error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: two spaces, keys in the order given, a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, advice: str = RERUN) -> Any:
    """Read one JSON file.

    Args:
        path: the file.
        advice: what to do if it is none.

    Raises:
        InputError: not JSON; NaN and infinity are none.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({reason(error)}); {advice}") from error


def read_object(path: Path, advice: str = RERUN) -> dict[str, Any]:
    """Read a JSON object; see `read_json`.

    Raises:
        InputError: it is something else.
    """
    found = read_json(path, advice)
    if not isinstance(found, dict):
        raise InputError(f"{path}: must be a JSON object, not {type(found).__name__}; {advice}")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def read_as(path: Path, kind: type[T], made_by: str) -> T:
    """Read one JSON file into a dataclass; further keys are left out.

    Args:
        path: the file.
        kind: dataclass with a type for each key that is needed.
        made_by: the command that writes such a file.

    Raises:
        InputError: not JSON, or keys are missing or of another type.
    """
    stored = read_json(path)
    try:
        return TypeAdapter(kind).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        reason = f"{where}: {first['msg'].lower()}"
        raise InputError(f"{path}: not what `{made_by}` writes ({reason}); delete it and run that again") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files in the order of their relative names."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{digest(file)}\n".encode())
    return total.hexdigest()


def partial_path(path: Path) -> Path:
    """Where an artifact is worked at until it is whole."""
    return path.with_name(f".{path.name}.partial")


class Lock:
    """A lock on an artifact: a hidden file beside it, which an owner leaves behind if it is killed.

    Attributes:
        left: what an owner that was killed, or failed, had noted; empty without one.
        keep: whether the file stays, with what is noted.
    """

    keep = False

    def __init__(self, stream: io.TextIOBase) -> None:
        self.stream = stream
        stream.seek(0)
        self.left = stream.read().partition("\n")[2]
        self._write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")

    def note(self, text: str) -> None:
        """Leave a line to whoever comes after this process, should it be killed."""
        self._write(f"\n{text}")

    def _write(self, text: str) -> None:
        if not text.startswith("\n"):
            self.stream.truncate(0)
        self.stream.write(text)
        self.stream.flush()


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Keep other processes from writing the artifact ``path`` during the block.

    The system drops the lock when this process ends, however it ends, and its children do not inherit it.

    Raises:
        InputError: another process writes it.
    """
    file = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        while True:
            try:
                stream: io.TextIOBase = stack.enter_context(file.open("a+", encoding="utf-8"))
            except PermissionError:  # such as beside the mount point of a volume, which may itself be written
                log.info("%s cannot be written to, so nothing is locked; run no second job on %s", path.parent, path)
                stream = io.StringIO()
                break
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    stream.seek(0)
                    owner = stream.readline().strip() or "another process"
                    raise InputError(f"{path} is being written by {owner}; wait for it or stop it") from None
                log.info("%s: this file system has no locks (%s); run no second job on it", path.parent, error.strerror)
                break
            with suppress(FileNotFoundError):
                if os.path.samestat(file.stat(), os.fstat(stream.fileno())):
                    break
            stack.close()  # its owner was just removing it
        lock = Lock(stream)
        try:
            yield lock
        finally:
            if not lock.keep:
                with suppress(PermissionError):
                    file.unlink(missing_ok=True)


@contextmanager
def resumable_directory(path: Path, key: dict[str, Any]) -> Iterator[Path]:
    """Give a hidden working folder beside ``path`` that survives a kill; it is removed after a block that succeeds.

    The block ends by writing ``path`` from the folder's files, or by renaming the folder with `publish`.

    What an earlier, killed run left is kept where ``key`` (settings, input digests, code) is the same, and removed
    where it is not. Every file inside must be written atomically, so a file that is there is whole.

    Args:
        path: the artifact under construction.
        key: everything the content depends on.
    """
    work = partial_path(path)
    key_file = work / KEY
    wanted = json.dumps(key, indent=2, ensure_ascii=False) + "\n"
    if work.exists() and not (key_file.exists() and key_file.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    if not key_file.exists():
        write_text(key_file, wanted)
    yield work
    # Reached only on success: a raised error leaves the work for the next run.
    shutil.rmtree(work, ignore_errors=True)


def publish(source: Path, path: Path) -> None:
    """Move a finished file or folder to ``path``, replacing what was there.

    A working folder loses what is hidden: its key, and the file that a killed run was at.
    """
    for hidden in source.glob(".*"):
        hidden.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    source.replace(path)
