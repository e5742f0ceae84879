"""Trainings as a cluster runs them: over several processes, and asked to stop on the way."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pcc.artifacts.clusters import write_clusters
from pcc.runtime.files import digest
from pcc.runtime.interruption import EXIT_CODE
from pcc.runtime.launch import VARIABLE

HELD = Path(__file__).parents[1] / "helpers/held.py"
STEPS = 20
BACKBONE = {"name": "test_resnet", "settings": {"output_stride": 8}}


@pytest.fixture
def command(tiny_manifest: Callable[..., Path]) -> Callable[..., list[str]]:
    """A training on four images a step, by one process or two."""
    manifest = tiny_manifest(train=16)
    clusters = manifest.parent / "clusters.json"
    write_clusters(clusters, [])

    def make(output: Path, epochs: int = STEPS // 4, **training: Any) -> list[str]:
        settings = {
            "type": "sipe",
            "model": {"backbone": BACKBONE, "side_channels": [4, 4, 4, 4]},
            "training": {
                "image_size": 32,
                "batch_size": 4,
                "phases": [{"name": "main", "epochs": epochs, "lr": 0.01}],
                **training,
            },
        }
        files = {"manifest": manifest, "clusters": clusters, "output": output, "settings": json.dumps(settings)}
        words = [f"--{key}={value}" for key, value in files.items()]
        return [sys.executable, "-m", "pcc", "train", *words]

    return make


def with_processes(count: int) -> dict[str, str]:
    return os.environ | {VARIABLE: str(count), "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
def test_two_processes_train_as_one_does(command: Callable[..., list[str]], tmp_path: Path) -> None:
    losses = []
    for processes, accumulate in ((1, 1), (2, 1), (2, 2)):
        output = tmp_path / f"{processes}-{accumulate}"
        subprocess.run(
            command(output, accumulate=accumulate), env=with_processes(processes), check=True, capture_output=True
        )
        assert not list(tmp_path.glob(".*partial"))
        with (output / "losses.csv").open(newline="") as file:
            losses.append([[float(row[key]) for key in ("loss", "consistency")] for row in csv.DictReader(file)])
    assert len(losses[0]) == STEPS
    assert len({loss for loss, _ in losses[0]}) > STEPS / 2, "it learns, so the gradients take part"
    for alone, together, in_parts in zip(*losses, strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
        assert in_parts == pytest.approx(alone, rel=1e-4)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_one_line(command: Callable[..., list[str]], tmp_path: Path) -> None:
    """Which also shows that there are two processes."""
    uneven = command(tmp_path / "uneven", batch_size=3)
    done = subprocess.run(uneven, env=with_processes(2), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("pcc train: training.batch_size: 3 must be a multiple of the number of processes, 2")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_asked_to_stop_it_saves_the_step_and_goes_on_there(
    command: Callable[..., list[str]], tmp_path: Path, processes: int
) -> None:
    """No checkpoint is due before the end, so what the rerun takes up was saved because of the signal.

    As on a cluster, all processes get it, those that load images too.
    """
    environment = with_processes(processes)
    whole, broken = ([*command(tmp_path / name, checkpoint_every=10000), "--threads=2"] for name in ("whole", "broken"))
    subprocess.run(whole, env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [sys.executable, str(HELD), *broken[3:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    heard = process.stdout.readline()  # nothing, should it end before
    if heard:
        os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate("go on\n")[1]
    assert heard == "held\n" and process.returncode == EXIT_CODE, said
    assert "received SIGTERM: checkpoint saved at step 5 " in said and not (tmp_path / "broken").exists()
    again = subprocess.run(broken, env=environment, check=True, capture_output=True, text=True)
    assert "resuming from checkpoint: phase 0, step 5\n" in again.stderr
    for file in ("weights.safetensors", "losses.csv"):
        assert digest(tmp_path / "whole" / file) == digest(tmp_path / "broken" / file)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find processes")
@pytest.mark.parametrize(
    ("processes", "victim", "line"),
    [
        (1, [0], "a data loader was killed (signal 9)"),
        (2, [1], "the training process of rank 1 was killed (signal 9)"),
        (2, [1, 0], "a data loader was killed (signal 9)"),
    ],
)
def test_one_killed_ends_all_in_one_line_and_a_rerun_resumes(
    command: Callable[..., list[str]], tmp_path: Path, processes: int, victim: list[int], line: str
) -> None:
    """``victim`` leads from the command to the process that is killed: a child's number, of that one's child, …"""
    words = [*command(tmp_path / "broken", checkpoint_every=3), "--threads=4"]
    held = subprocess.Popen(
        [sys.executable, str(HELD), *words[3:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=with_processes(processes), start_new_session=True,
    )  # fmt: skip
    try:
        assert held.stdout is not None and held.stdout.readline() == "held\n"
        pid = held.pid
        for number in victim:
            pid = children(pid)[number]
        os.kill(pid, signal.SIGKILL)
        said = held.communicate("go on\n", timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(held.pid, signal.SIGKILL)
    assert held.returncode == 1 and "Traceback" not in said
    assert [text for text in said.splitlines() if text.startswith("pcc train: ")] == [said.splitlines()[-1]]
    assert said.splitlines()[-1].startswith(f"pcc train: {line}")
    assert not (tmp_path / "broken").exists()
    if processes == 1:  # of several, it is the same checkpoint
        again = subprocess.run(words, env=with_processes(1), check=True, capture_output=True, text=True)
        assert "resuming from checkpoint: phase 0, step " in again.stderr


def children(pid: int) -> list[int]:
    """Those of a process, oldest first."""
    listed = (task / "children" for task in Path(f"/proc/{pid}/task").iterdir())
    return sorted(int(child) for file in listed for child in file.read_text().split())
