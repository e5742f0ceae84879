"""The key of a stage's job and its provenance.json."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pcc.runtime.errors import InputError
from pcc.runtime.files import digest, write_json
from pcc.runtime.ownership import check_unchanged, files_of, record_path
from pcc.runtime.stage import current_call

VERSIONED = ("pcc", "torch", "torchvision", "timm", "numpy", "pydensecrf2", "snakemake")


class Job:
    """Settings, inputs and code of the running stage; inputs are hashed once, and compared with their own records.

    Args:
        settings: resolved settings.
        inputs: files and folders read.
        details: seed, shard, etc.

    Attributes:
        key: everything that the artifact depends on.

    Raises:
        InputError: an input is missing, damaged or was changed after its stage wrote it.
    """

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Path], **details: Any) -> None:
        self.call = current_call()
        self.key: dict[str, Any] = {
            **details,
            "settings": settings,
            "inputs": {str(path): _checked_digest(path) for path in inputs},
            "code": self.call.code,
        }

    def write_provenance(self, output: Path, files: Sequence[Path] | None = None, **details: Any) -> None:
        """Write the key, digests of what was written, revision, versions, device, time and memory.

        Args:
            output: the artifact, a file or a folder; its record is `record_path`.
            files: what the stage wrote; None: ``output``, or all files in it.
            details: further entries.
        """
        record = record_path(output)
        written = files_of(output) if files is None else files
        write_json(
            record,
            {
                "stage": self.call.stage,
                **self.key,
                **details,
                "files": {os.path.relpath(file, record.parent): digest(file) for file in written},
                "git": _git_revision(),
                "versions": _versions(),
                "device": _device(),
                "wall_time_s": round(time.monotonic() - self.call.started, 2),
                "peak_memory_mb": round(_peak_memory(), 1),
            },
        )


def _checked_digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files without its record."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; run the stage that writes it")
    found = check_unchanged(path)
    if path.is_file():
        return found[path.name]
    return hashlib.sha256("".join(f"{name}\0{value}\n" for name, value in found.items()).encode()).hexdigest()


def _versions() -> dict[str, str]:
    """Versions of Python, packages, and the compiled CRF if loaded."""
    found = {"python": platform.python_version()} | {n: v for n in VERSIONED if (v := _version(n))}
    # Not imported: jobs without a CRF do not depend on its code.
    if mean_field := sys.modules.get("pcc.mean_field"):
        found["pcc.mean_field"] = mean_field.INSTRUCTIONS or "absent"
    return found


def _device() -> str:
    torch = sys.modules.get("torch")  # not loaded: the job ran on the CPU
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu"


def _peak_memory() -> float:
    """Peak memory of this process without children, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
