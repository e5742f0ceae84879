"""The scheduler's own work stays small: it looks at the ready jobs once after each job, not once a second for each."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from scheduling import without_needless_rounds
from settings import METHOD

ROOT = Path(__file__).parents[2]
SHARDS = 24
CONFIG = {
    "dataset": {"name": "toy", "format": "shapes", "shards": {"train": SHARDS, "val": 1}},
    "scoring": {"splits": []},
    "clusters": {"none": {}},
    "methods": {"cam": METHOD},
    "localizations": {"cam": {"image_size": 96}},
    "refinements": {"argmax": {}},
    "experiments": [{"method": "cam", "localization": "cam", "refinement": "argmax"}],
}


@pytest.mark.parametrize(
    ("limiter", "stays"),
    [
        (None, False),
        (SimpleNamespace(max_jobs=100, timespan=1.0), False),
        (SimpleNamespace(max_jobs=100, timespan=60.0), True),
        (SimpleNamespace(max_jobs=5, timespan=1.0), True),
    ],
)
def test_only_the_default_limit_is_taken_away(limiter: SimpleNamespace | None, stays: bool) -> None:
    scheduler = SimpleNamespace(job_rate_limiter=limiter)
    without_needless_rounds(scheduler)
    assert (scheduler.job_rate_limiter is not None) == stays


def test_a_snakemake_without_such_a_limit_is_left_alone() -> None:
    scheduler = SimpleNamespace()
    without_needless_rounds(scheduler)
    assert vars(scheduler) == {}


def rounds(folder: Path) -> tuple[int, int]:
    """How often the scheduler looked at the ready jobs in a run of many shards, and how many jobs there were.

    Stages are stood in for by the recorder, which takes a moment so that timers of a second could fire.
    """
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    stand_in = folder / "bin/python"
    stand_in.parent.mkdir()
    recorder = Path(__file__).with_name("recorder.py")
    stand_in.write_text(f'#!/bin/sh\nsleep 0.05\nshift 2\nexec "{sys.executable}" "{recorder}" "$@"\n')
    stand_in.chmod(0o755)
    words = ["-s", ROOT / "Snakefile", "--configfile", "config.yaml", "--cores", "2", "--verbose"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    jobs = (folder / "calls.jsonl").read_text().count("\n")
    return done.stderr.count("Resources before job selection"), jobs


@pytest.mark.slow
def test_one_round_for_each_job_that_ends(tmp_path: Path) -> None:
    found, jobs = rounds(tmp_path / "default")
    assert jobs == 2 * SHARDS + 4  # prepare, clusters, train, quality
    assert found <= jobs + 2  # the first, and one for the rule that collects everything
