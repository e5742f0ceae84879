"""The workflow through a real SLURM of one node (`make test-slurm` brings it up), with a job cancelled on the way."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pcc.runtime.files import digest

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests/helpers/small.yaml"
JOBS = 8
CHECKPOINT_EVERY = 200  # steps; pcc.training.loop's own
TRAINING = "pcc/seed-0/classifier"
TELLING = (f"{TRAINING}/weights.safetensors", "pcc/seed-0/cam/crf/light/predictions/*/*.png", "summary.csv")

QUICK = (
    *("--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2", "--set-threads", "prepare=2"),
)

pytestmark = pytest.mark.slurm


def snakemake(config: Path, results: Path, *words: str) -> list[str]:
    settings = {"--configfile": config, "--directory": results.parent}
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


def running_training() -> str:
    """Number of the one job that trains the classifier."""
    (number,) = (n for n, (state, rule) in slurm_jobs().items() if state == "RUNNING" and "rule_train_w" in rule)
    return str(number)


def telling(results: Path) -> dict[str, str]:
    """Digests of what a run leads to."""
    files = [file for pattern in TELLING for file in results.glob(pattern)]
    assert len(files) > len(TELLING)
    return {file.relative_to(results).as_posix(): digest(file) for file in files}


def resumed_at(log: Path) -> int:
    """Step at which the attempt that writes this log took the training up; 0 where it has not."""
    found = re.search(r"resuming from checkpoint: phase 0, step (\d+)", log.read_text()) if log.exists() else None
    return int(found[1]) if found else 0


def test_stopped_jobs_come_back_and_end_with_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    config = tmp_path / "config.yaml"
    config.write_text(SMALL.read_text().replace("epochs: 2,", "epochs: 60,", 1))  # 600 steps: time to stop a training
    whole, broken = tmp_path / "whole/results", tmp_path / "broken/results"
    for folder in (whole, broken):
        folder.parent.mkdir()
    subprocess.run(
        snakemake(config, whole, "--cores", "2", "--quiet"), env=environment, check=True, capture_output=True
    )

    before = set(slurm_jobs())
    words = snakemake(config, broken, "--profile", str(ROOT / "profiles/slurm"), *QUICK)
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = broken / "shapes/logs/pcc/seed-0/train.log"
    work = broken / "shapes/pcc/seed-0/.classifier.partial"

    wait_for(lambda: list(work.glob("tensorboard/*")), 240, process)
    told = running_training()
    subprocess.run(["scancel", "--signal=TERM", told], check=True)  # as before a time limit: the step is kept
    wait_for(lambda: resumed_at(log), 120, process)
    assert 0 < resumed_at(log) < CHECKPOINT_EVERY

    saved = (work / "checkpoint.safetensors").stat().st_mtime_ns
    wait_for(lambda: (work / "checkpoint.safetensors").stat().st_mtime_ns > saved, 120, process)
    killed = running_training()
    subprocess.run(["scancel", killed], check=True)  # SIGTERM, and SIGKILL at once or soon after
    assert not (broken / "shapes" / TRAINING / "weights.safetensors").exists()

    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said
    assert resumed_at(log) >= CHECKPOINT_EVERY
    states = {str(number): state for number, (state, _) in slurm_jobs().items() if number not in before}
    assert (states.pop(told), states.pop(killed)) == ("FAILED", "CANCELLED")
    assert list(states.values()) == ["COMPLETED"] * JOBS
    assert telling(whole / "shapes") == telling(broken / "shapes")
