"""Cost of a run: Snakemake benchmark files and artifact sizes."""

from pathlib import Path

import pandas as pd

from pcc.results import ARTIFACTS

COLUMNS = ["stage", "job", "seconds", "peak_memory_mb"]


def times(results: Path) -> pd.DataFrame:
    """Stage, job, wall time (s) and peak memory (MB) of every job with a benchmark file."""
    root = results / "benchmarks"
    rows = []
    for path in sorted(root.rglob("*.tsv")):
        table = pd.read_csv(path, sep="\t", na_values="-")
        job = path.relative_to(root).with_suffix("").as_posix()
        stage = job.split("/")[0] if job.startswith("clusters/") else path.stem.split("-")[0]
        rows.append([stage, job, float(table["s"].sum()), float(table["max_rss"].max())])
    return pd.DataFrame(rows, columns=COLUMNS)


def disk(results: Path) -> dict[str, int]:
    """Bytes of the artifacts of each stage."""
    sizes: dict[str, int] = {}
    # Runs only: logs, benchmarks and the gallery have folders of the same names.
    for folder in (results / "data", *results.glob("*/seed-*/**/")):
        if stage := ARTIFACTS.get(folder.name):
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            sizes[stage] = sizes.get(stage, 0) + size
    return sizes


def by_stage(jobs: pd.DataFrame, sizes: dict[str, int]) -> pd.DataFrame:
    """One row per stage, in workflow order: jobs, total and longest time (s), memory, disk (MB)."""
    groups = jobs.groupby("stage", sort=False)
    table = groups["seconds"].agg(["size", "sum", "max"]).set_axis(["jobs", "seconds", "longest_s"], axis=1)
    table = table.astype({"seconds": float, "longest_s": float})
    table["peak_memory_mb"] = groups["peak_memory_mb"].max()
    table["disk_mb"] = pd.Series(sizes, dtype=float) / 1e6
    order = [*dict.fromkeys(["prepare", "clusters", *ARTIFACTS.values(), "quality", "evaluate", "report"])]
    return table.loc[sorted(table.index, key=lambda stage: order.index(stage) if stage in order else len(order))]
