"""The workflow through a real SLURM of one node (`make test-slurm` brings it up), with a job cancelled on the way."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pcc.files import digest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests/helpers/small.yaml"
JOBS = 8
TRAINING = "cam/seed-0/classifier"
TELLING = (f"{TRAINING}/weights.safetensors", "cam/seed-0/cam/crf/light/predictions/000", "summary.csv")

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        shutil.which("sinfo") is None
        or subprocess.run(["sinfo"], capture_output=True, check=False).returncode != 0,
        reason="no SLURM answers here; run `make test-slurm` as root on Debian",
    ),
]


def snakemake(results: Path, *words: str) -> list[str]:
    settings = [
        "--configfile",
        str(CONFIG),
        "--config",
        f"results={results}",
        "--directory",
        str(results.parent),
    ]
    return [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), *settings, *words]


def slurm_jobs() -> dict[int, str]:
    """State of each job by number, of those that SLURM still remembers."""
    said = subprocess.run(
        ["squeue", "--states=all", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True
    )
    return {int(number): state for number, state in (line.split() for line in said.stdout.splitlines())}


def training_job() -> int | None:
    """The running job that trains the classifier."""
    said = subprocess.run(
        ["squeue", "--states=running", "--noheader", "--format=%i %k"],
        capture_output=True,
        text=True,
        check=True,
    )
    return next(
        (int(line.split()[0]) for line in said.stdout.splitlines() if "rule_train_wildcards" in line), None
    )


def wait_for(condition: object, seconds: float, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def test_a_cancelled_job_resumes_and_ends_with_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    whole, broken = tmp_path / "whole/results", tmp_path / "broken/results"
    for folder in (whole, broken):
        folder.parent.mkdir()
    subprocess.run(
        snakemake(whole, "--cores", "2", "--quiet"), env=environment, check=True, capture_output=True
    )

    before = set(slurm_jobs())
    quick = (
        "--latency-wait",
        "5",
        "--slurm-init-seconds-before-status-checks",
        "2",
        "--seconds-between-status-checks",
        "2",
    )
    words = snakemake(broken, "--profile", str(ROOT / "profiles/slurm"), *quick, "--set-threads", "prepare=2")
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    work = broken / "small/cam/seed-0/.classifier.partial"
    wait_for(lambda: list(work.glob("tensorboard/*")), 240, process)
    time.sleep(1)  # some steps in
    cancelled = training_job()
    assert cancelled is not None and not (broken / "small" / TRAINING / "weights.safetensors").exists()
    subprocess.run(["scancel", str(cancelled)], check=True)
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said

    log = (broken / "small/logs/cam/seed-0/train.log").read_text()
    assert "resuming at phase 0, step" in log, log
    states = {number: state for number, state in slurm_jobs().items() if number not in before}
    assert states[cancelled] == "CANCELLED"
    assert sorted(state for number, state in states.items() if number != cancelled) == ["COMPLETED"] * JOBS
    for name in TELLING:
        assert digest(whole / "small" / name) == digest(broken / "small" / name), name
