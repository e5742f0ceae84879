"""How an artifact came about: provenance.json."""

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pcc import mean_field
from pcc.runtime.files import digest, write_json

VERSIONED = ("pcc", "torch", "torchvision", "timm", "numpy", "pydensecrf2", "snakemake")


def write_provenance(
    path: Path,
    *,
    settings: Mapping[str, Any],
    inputs: Sequence[Path],
    started: float,
    code: str,
    **details: Any,
) -> None:
    """Write how an artifact came about.

    Args:
        path: the provenance file.
        settings: the stage's resolved settings.
        inputs: files and folders read; their digests are stored.
        started: ``time.monotonic()`` at the stage's start.
        code: fingerprint of the stage's code.
        details: seed, shard and the like.
    """
    write_json(
        path,
        {
            **details,
            "settings": settings,
            "inputs": {str(p): digest(p) for p in inputs},
            "code": code,
            "git": _git_revision(),
            "versions": {"python": platform.python_version()}
            | {n: v for n in VERSIONED if (v := _version(n))}
            | {"pcc.mean_field": mean_field.INSTRUCTIONS or "absent"},
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "wall_time_s": round(time.monotonic() - started, 2),
            "peak_memory_mb": round(_peak_memory(), 1),
        },
    )


def _peak_memory() -> float:
    """Of this process so far, without its children's, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
