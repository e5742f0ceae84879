"""Kill a small workflow at random moments: does every run end, and does the last end like an unbroken one?

``python benchmarks/kills.py [--kills 20] [--full 6] [--seed 0]``: 20 SIGKILLs, 5 of them on a data loader or a
worker of the CRF, the others on a whole job. Then six jobs on a disk that is full (a file size limit). After each, the
job is run again and its output is compared with that of an uninterrupted run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pcc.artifacts.clusters import write_clusters  # noqa: E402
from pcc.runtime.files import digest  # noqa: E402

HANG = 30.0  # seconds that a job may take to end after a process of it is killed
SLOW = 600.0  # seconds for any run
BACKBONE = {"name": "test_resnet", "settings": {"output_stride": 8}}
CRF = {"iterations": 60, "gaussian": {"sxy": 3, "weight": 3}, "bilateral": {"sxy": 30, "srgb": 5, "weight": 5}}


def training(epochs: int) -> dict[str, Any]:
    phases = [{"name": "main", "epochs": epochs, "lr": 0.001}]
    return {"image_size": 64, "batch_size": 8, "checkpoint_every": 3, "phases": phases}


def jobs(folder: Path, whole: Path, data: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Stage, artifact and command of each job, in order; what a job reads is that of the unbroken run."""
    maps, masks = whole / "maps/000.safetensors", whole / "masks/000"
    method = {"type": "sipe", "model": {"backbone": BACKBONE, "side_channels": [4] * 4}, "training": training(5)}
    segmenter = {
        "type": "light_head",
        "model": {"backbone": BACKBONE | {"levels": [4]}, "unfrozen_blocks": "all", "width": 8},
        "training": training(3),
    }
    localize = {"type": "cam", "image_size": 96, "batch_size": 4, "scales": [1.0, 2.0]}
    for stage, settings, output, options in (
        ("train", method, "classifier", {"clusters": data / "clusters.json"}),
        ("localize", localize, "maps/000.safetensors", {"classifier": whole / "classifier", "shard": "000"}),
        ("pseudo_masks", {"type": "crf", **CRF}, "masks/000", {"maps": maps}),
        ("train_segmenter", segmenter, "segmenter", {"masks": masks}),
        ("segment", {"crf": CRF}, "predictions/000", {"segmenter": whole / "segmenter", "shard": "000"}),
    ):
        given = {"manifest": data / "manifest.csv", "settings": json.dumps(settings), "threads": 2, **options}
        words = [f"--{key}={value}" for key, value in given.items()]
        yield stage, folder / output, [sys.executable, "-m", "pcc", stage, *words, f"--output={folder / output}"]


def content(path: Path) -> dict[str, str]:
    """Digests of an artifact, but for what tells of time."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {f.name: digest(f) for f in files if "provenance" not in f.name and "tfevents" not in f.name}


def workers(pid: int) -> list[int]:
    """Forks of a process: children with its command line, unlike the programs that it runs for a moment."""
    found: list[int] = []
    command = Path(f"/proc/{pid}/cmdline")
    for task in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # threads and processes come and go
            started = task.read_text().split()
            found += [int(n) for n in started if Path(f"/proc/{n}/cmdline").read_bytes() == command.read_bytes()]
    return found


def start(command: list[str], limit: int | None = None) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PCC_PROCESSES": "1"}
    limited = [] if limit is None else ["prlimit", f"--fsize={limit}"]
    return subprocess.Popen([*limited, *command], env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]", limit: float) -> str:
    """Its standard error. If it does not end in time, the benchmark fails."""
    try:
        return process.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"hangs: {' '.join(process.args)}") from None  # type: ignore[arg-type]


def own_lines(said: str) -> list[str]:
    """The lines for the user, and those of tracebacks."""
    return [line for line in said.splitlines() if line.startswith(("pcc ", "Traceback", "  File"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--full", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = folder / "data"
        settings = {
            "name": "shapes",
            "format": "shapes",
            "settings": {"train": 48, "val": 24, "image_size": 96},
            "shards": {"train": 1, "val": 1},
        }
        prepare = [sys.executable, "-m", "pcc", "prepare", f"--output={data}", f"--settings={json.dumps(settings)}"]
        ended(start(prepare), SLOW)
        write_clusters(data / "clusters.json", [])
        whole, seconds = {}, {}
        for stage, output, command in jobs(folder / "whole", folder / "whole", data):
            begun = time.monotonic()
            process = start(command)
            said = ended(process, SLOW)
            assert process.returncode == 0, said
            seconds[stage], whole[stage] = time.monotonic() - begun, content(output)
        print(f"unbroken: {sum(seconds.values()):.0f} s", flush=True)
        victims = ["worker"] * min(5, given.kills) + ["job"] * max(0, given.kills - 5)
        rng.shuffle(victims)
        equal = lines = late = 0
        slowest = 0.0
        for number, victim in enumerate(victims):
            todo = list(jobs(folder / f"killed{number}", folder / "whole", data))
            stage, output, command = rng.choice([job for job in todo if victim == "job" or job[0] != "localize"])
            killed, took, one_line = kill(command, victim, rng, seconds[stage])
            same = rerun(command, output) == whole[stage]
            equal, late, lines, slowest = equal + same, late + (not killed), lines + one_line, max(slowest, took)
            what = "killed" if killed else "had ended"
            print(f"{number}: {victim} of {stage} {what}, {took:.1f} s: {'equal' if same else 'DIFFERENT'}", flush=True)
        count = victims.count("worker")
        print(f"{len(victims)} kills, {count} of loaders or workers, {late} too late: {equal} equal afterwards")
        print(f"{lines} of {count} in one line with exit code 1; slowest end {slowest:.1f} s", flush=True)
        equal = lines = 0
        for number in range(given.full):
            todo = list(jobs(folder / f"full{number}", folder / "whole", data))
            stage, output, command = rng.choice(todo)
            process = start(command, limit := rng.choice([0, 100, 1000]))
            said = ended(process, SLOW)
            one_line = len(own_lines(said)) == 1 and process.returncode > 0
            same = rerun(command, output) == whole[stage]
            equal, lines = equal + same, lines + one_line
            print(f"{number}: {stage}, {limit} bytes left: {own_lines(said)[:1]}, {'equal' if same else 'DIFFERENT'}")
        print(f"{given.full} full disks: {lines} in one line, {equal} equal afterwards")


def rerun(command: list[str], output: Path) -> dict[str, str]:
    process = start(command)
    said = ended(process, SLOW)
    assert process.returncode == 0, said
    return content(output)


def kill(command: list[str], victim: str, rng: random.Random, seconds: float) -> tuple[bool, float, bool]:
    """Whether a process was killed before the end, how long the job took to end then, and whether with one line."""
    process = start(command)
    wait = rng.uniform(0.2, 1.0) * seconds if victim == "job" else rng.uniform(0.0, 0.1) * seconds
    if victim == "worker":
        while not (found := workers(process.pid)) and process.poll() is None:
            time.sleep(0.01)
    time.sleep(wait)
    target = process.pid
    if victim == "worker":
        found = workers(process.pid)
        target = rng.choice(found) if found else 0
    begun = time.monotonic()
    killed = bool(target) and process.poll() is None
    if killed:
        os.kill(target, signal.SIGKILL)
    said = ended(process, HANG if victim == "job" else HANG + seconds)  # one killed after its work is no loss
    one_line = len(own_lines(said)) == 1 and process.returncode == 1
    if victim == "worker" and not one_line:
        print(f"exit code {process.returncode}, said: {own_lines(said)[:3]}")
    return killed, time.monotonic() - begun, one_line


if __name__ == "__main__":
    main()
