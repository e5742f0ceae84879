"""The workflow through a real SLURM of one node (`make test-slurm` brings it up), with a job cancelled on the way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pcc.files import digest

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests/helpers/small.yaml"
JOBS = 8
TRAINING = "cam/seed-0/classifier"
TELLING = (f"{TRAINING}/weights.safetensors", "cam/seed-0/cam/crf/light/predictions/000", "summary.csv")

pytestmark = pytest.mark.slurm


def snakemake(config: Path, results: Path, *words: str) -> list[str]:
    settings = {"--configfile": config, "--directory": results.parent, "--config": f"results={results}"}
    given = [str(word) for pair in settings.items() for word in pair]
    return [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), *given, *words]


def slurm_jobs() -> dict[int, tuple[str, str]]:
    """State and comment (rule and wildcards) of each job by number, of those that SLURM still remembers."""
    words = ["squeue", "--states=all", "--noheader", "--format=%i %T %k"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    jobs = (line.split(maxsplit=2) for line in said.splitlines())
    return {int(number): (state, comment) for number, state, comment in jobs}


def wait_for(condition: Callable[[], object], seconds: float, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def test_a_cancelled_job_resumes_and_ends_with_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    config = tmp_path / "config.yaml"
    config.write_text(SMALL.read_text().replace("epochs: 2,", "epochs: 30,"))  # time to cancel a training
    whole, broken = tmp_path / "whole/results", tmp_path / "broken/results"
    for folder in (whole, broken):
        folder.parent.mkdir()
    subprocess.run(
        snakemake(config, whole, "--cores", "2", "--quiet"), env=environment, check=True, capture_output=True
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
    words = snakemake(
        config, broken, "--profile", str(ROOT / "profiles/slurm"), *quick, "--set-threads", "prepare=2"
    )
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    work = broken / "small/cam/seed-0/.classifier.partial"
    wait_for(lambda: list(work.glob("tensorboard/*")), 240, process)
    time.sleep(1)  # some steps in
    running = [
        n for n, (state, rule) in slurm_jobs().items() if state == "RUNNING" and "rule_train_w" in rule
    ]
    assert len(running) == 1 and not (broken / "small" / TRAINING / "weights.safetensors").exists()
    subprocess.run(["scancel", str(running[0])], check=True)
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said

    log = (broken / "small/logs/cam/seed-0/train.log").read_text()
    assert "resuming at phase 0, step" in log, log
    states = {number: state for number, (state, _) in slurm_jobs().items() if number not in before}
    assert states.pop(running[0]) == "CANCELLED"
    assert list(states.values()) == ["COMPLETED"] * JOBS
    for name in TELLING:
        assert digest(whole / "small" / name) == digest(broken / "small" / name), name
