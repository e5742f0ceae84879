"""Findings about the installation and a configuration's data: packages, hardware, weights, paths, disk."""

import math
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from rich.markup import escape
from rich.table import Table

from pcc import mean_field
from pcc.planning.estimate import Estimate, data_paths
from pcc.planning.measuring import backbones_in
from pcc.runtime.progress import duration

PACKAGES = (
    "pcc",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "segmentation-models-pytorch",
    "accelerate",
    "pydensecrf2",
    "snakemake",
    "numpy",
    "pandas",
    "matplotlib",
)
OPTIONAL = ("pcc",)
OLDEST_PYTHON = (3, 11)
CRF_ENGINE = (
    f"compiled, {mean_field.INSTRUCTIONS}"
    if mean_field.INSTRUCTIONS
    else "pydensecrf2, some four times slower: the compiled one was not built on installation"
)
GIB = 2**30
Finding = tuple[str, str, str | None]


def machine(threads: int) -> list[Finding]:
    """Python, packages, GPU, processor and memory."""
    python = ".".join(map(str, sys.version_info[:3]))
    old = f"Python {python} is too old; use {'.'.join(map(str, OLDEST_PYTHON))} or newer"
    findings: list[Finding] = [("Python", python, old if sys.version_info < OLDEST_PYTHON else None)]
    versions, missing = [], []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            if package not in OPTIONAL:
                missing.append(package)
    problem = f"packages missing: {', '.join(missing)}; install them with `pip install`" if missing else None
    findings.append(("packages", ", ".join(versions), problem))
    findings.append(("GPU", _gpu(), None))
    findings.append(("CPU", f"{os.cpu_count()} cores, {threads} used here", None))
    findings.append(("dense CRF", CRF_ENGINE, None))
    return findings


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none: everything runs on the CPU"
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / GIB:.0f} of {total / GIB:.0f} GiB free"


def weights(config: Mapping[str, Any]) -> list[Finding]:
    """Whether each backbone's weights are available."""
    findings: list[Finding] = []
    for place, settings in backbones_in(config):
        source, name = settings.get("weights", "random"), settings["name"]
        if source == "random":
            findings.append((place, f"{name}: random weights", None))
        elif source == "hub":
            findings.append((place, *_hub(place, name)))
        else:
            missing = None if Path(source).is_file() else f"{place}.weights: no file {source}; correct the path"
            findings.append((place, f"{name}: {source}", missing))
    return findings


def _hub(place: str, name: str) -> tuple[str, str | None]:
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return (f"{name}: hub", f"{place}.name: timm has no weights for '{name}'; name another, or a local file")
    repository = str(known.hf_hub_id)
    cached = any(
        isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str)
        for file in ("model.safetensors", "pytorch_model.bin")
    )
    if cached:
        return f"{name}: in the cache ({repository})", None
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return f"{name}: not in the cache", (
            f"{place}.weights: {repository} is not in the cache and HF_HUB_OFFLINE is set; "
            "go online once, or name a file"
        )
    return f"{name}: will be fetched from {repository}", None


def data(config: Mapping[str, Any]) -> list[Finding]:
    """Whether the files and folders that dataset.settings name are there."""
    return [
        (key, str(path), None if path.exists() else f"{key}: no {path}; correct the path, or put the data there")
        for key, path in data_paths(config).items()
    ]


def disk(config: Mapping[str, Any], expected: Estimate) -> Finding:
    """Free space where the results go against what is expected."""
    results = Path(config["results"]).absolute()
    there = next(folder for folder in (results, *results.parents) if folder.exists())
    free, needed = shutil.disk_usage(there).free, expected.kept + expected.passing
    passing = f"{expected.passing / GIB:.2f} only while training"
    text = f"{needed / GIB:.2f} GiB expected ({passing}), {free / GIB:.0f} GiB free"
    problem = f"results: {needed / GIB:.1f} GiB expected in {results}, {free / GIB:.1f} GiB free; set another `results`"
    return "disk", text, problem if needed > free else None


def findings_table(findings: list[Finding], configfile: Path) -> Table:
    """What was looked at, what was found, and whether it will do."""
    table = Table("what", "found", "", title=f"pcc doctor: {configfile}", title_justify="left")
    for what, found, problem in findings:
        table.add_row(what, escape(found), "[bold red]problem[/]" if problem else "[green]ok[/]")
    return table


def times_table(expected: Estimate) -> Table:
    """Expected time and disk by stage."""
    table = Table("stage", "time", "disk (GiB)")
    for stage, seconds in expected.seconds.items():
        time = "not known" if math.isnan(seconds) else duration(seconds)
        table.add_row(stage, time, f"{expected.stored[stage] / GIB:.2f}")
    known = [seconds for seconds in expected.seconds.values() if not math.isnan(seconds)]
    more = "more than " if len(known) < len(expected.seconds) else ""
    in_all = f"{more}{duration(sum(known))}" if known else "not known"
    table.add_section()
    table.add_row("in all", in_all, f"{expected.kept / GIB:.2f}")
    return table
