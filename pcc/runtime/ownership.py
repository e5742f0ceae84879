"""Whose an output is: a stage writes where nothing is, or over its own earlier artifact, and nowhere else.

An artifact's record says which stage wrote it and the digest of each of its files.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pcc.runtime.errors import InputError
from pcc.runtime.files import digest, locked, read_json, write_json

RECORD = "provenance.json"
STAMP = ".snakemake_timestamp"  # Snakemake's own, in folders that a rule declares as its output
Kind = Literal["file", "folder", "inside"]


def record_path(output: Path) -> Path:
    """``provenance.json`` in a folder, ``NAME.provenance.json`` beside a file."""
    return output / RECORD if output.is_dir() else output.with_suffix(f".{RECORD}")


def read_record(path: Path) -> Mapping[str, Any]:
    """A record; empty where there is none.

    Raises:
        InputError: damaged.
    """
    if not path.is_file():
        return {}
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("files", {}), dict):
        raise InputError(f"{path}: not a provenance record; delete it and what it describes, and run the stage again")
    return record


@contextmanager
def claimed(output: Path, stage: str, kind: Kind) -> Iterator[None]:
    """Refuse an output that is not this stage's; inside the block it is, and no other process writes it.

    Args:
        output: file or folder to be written.
        stage: name of the stage.
        kind: ``file``; ``folder``, which is replaced as a whole; or ``inside`` a folder, where other files stay.

    Raises:
        InputError: the output is of another kind, holds what this stage did not write, or is being written.
    """
    place = output.absolute()
    missing = [folder for folder in place.parents if not folder.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place) as lock:
            # A folder that is replaced as a whole is never half written.
            unfinished = kind != "folder" and lock.left == stage
            if not unfinished and (fault := _fault(place, stage, kind)):
                raise InputError(f"{output}: {fault}")
            lock.note(stage)
            try:
                yield
            finally:
                record = record_path(place)
                lock.keep = kind != "folder" and _is_there(place) and not record.is_file()
            if lock.keep:
                write_json(record, {"stage": stage})
                lock.keep = False
    finally:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _is_there(output: Path) -> bool:
    return any(output.iterdir()) if output.is_dir() else output.exists()


def _fault(output: Path, stage: str, kind: Kind) -> str | None:
    if kind == "file" and output.is_dir():
        return "is a folder; name a file"
    if kind != "file" and output.is_file():
        return "is a file; name a folder"
    if not _is_there(output):
        return None
    record = read_record(record_path(output))
    if not wrote(record, stage):
        what = "file exists and" if kind == "file" else "folder is not empty and"
        return f"{what} was not written by `pcc {stage}`; name another, or delete it"
    if kind == "folder" and (foreign := _foreign(output, record)):
        return f"holds {foreign}, which `pcc {stage}` did not write; move it elsewhere"
    return None


def wrote(record: Mapping[str, Any], stage: str) -> bool:
    """Whether a record is of this stage; records of older versions do not say."""
    return record.get("stage") == stage or ("stage" not in record and {"settings", "inputs"} <= record.keys())


def _foreign(folder: Path, record: Mapping[str, Any]) -> str | None:
    """What somebody else put into an artifact's folder."""
    known = {*record.get("files", ()), RECORD, STAMP}
    strange = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in known and ("files" in record or path.suffix != ".png")
    )
    return f"{strange[0]} and {len(strange) - 1} more" if len(strange) > 1 else next(iter(strange), None)


def files_of(output: Path) -> list[Path]:
    """A file itself, or the files in a folder, sorted; without hidden ones and the record."""
    if output.is_file():
        return [output]
    files = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name != RECORD]
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(output).parts)]


def digests_of(output: Path) -> dict[str, str]:
    """SHA-256 of `files_of` by their names in the folder."""
    folder = output if output.is_dir() else output.parent
    return {file.relative_to(folder).as_posix(): digest(file) for file in files_of(output)}


def check_unchanged(path: Path) -> dict[str, str]:
    """Compare a file or folder with the record of the artifact that it belongs to, where there is one.

    Args:
        path: file or folder that is read.

    Returns:
        Its `digests_of`.

    Raises:
        InputError: damaged, changed or incomplete.
    """
    found = digests_of(path)
    for file in [path / RECORD] if path.is_dir() else [record_path(path), path.parent / RECORD]:
        record = read_record(file)
        wanted = record.get("files", {})
        if path.is_file():
            wanted = {path.name: wanted[path.name]} if path.name in wanted else {}
        wrong = [name for name, value in wanted.items() if found.get(name) != value]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            which = "" if path.is_file() else f" {wrong[0]}{more}"
            command = f"`pcc {record.get('stage')}`"
            fault = f"is missing since {command} wrote it" if wrong[0] not in found else f"is not what {command} wrote"
            raise InputError(f"{path}:{which} {fault}; delete {path} and run that stage again")
    return found
