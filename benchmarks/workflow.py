"""What Snakemake and the workflow cost beside the jobs: with nothing to do, and in a run of 200 shards.

    python benchmarks/workflow.py [--shards 200]

*Nothing to do*: seconds of `snakemake --cores 2` on finished results, for the demo's configuration and for
config/voc12.yaml with all its experiments and seeds. What the results hold does not matter to Snakemake, so they are
made by the tests' recorder in place of pcc: every file at its place, written by the real rules, empty but for a word.

*Overhead*: a real run of 200 shards of five drawn images, whose maps are there: real `pcc pseudo_masks` jobs, one CPU
each and two at a time, then quality and scores. Jobs are as short as real ones can be, nearly all of their two seconds
are imports of torch. A job lasts from the start of its `python` to its end, noted by a shell script of that name around
it. Two things are no job's:

    idle: all of the time before the first job and after the last and between them while none runs; and the share of the
        cores that is free while shards wait
    its own CPU: seconds that Snakemake's process computes while jobs run, a share of the cores. Most of them watch the
        jobs' memory, twice a second for the first quarter of a minute of each and twice a minute after that.

The first claim is idle time as measured, with both told beside it. The second is both together where a shard's job
takes a minute, as a shard of COCO's 1,026 images does at 60 ms an image: computed from the same run. The jobs' own
start is in neither; it is measured too, as the CPU seconds of each sharded stage's imports.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from measure import Claim, end, quietly

from pcc.artifacts.maps import Maps, write_maps
from pcc.artifacts.networks import write_weights
from pcc.data.manifest import Manifest
from pcc.runtime.files import write_json, write_text

ROOT = Path(__file__).parents[1]
RECORDER = ROOT / "tests/workflow/recorder.py"
CORES = 2
IMAGES_PER_SHARD, SIDE = 5, 96
STAGES = {  # of those with shards: what each imports with the parts it picks by name
    "localize": "pcc.stages.localize, pcc.methods.pcc, pcc.localizations.iscam",
    "pseudo_masks": "pcc.stages.pseudo_masks, pcc.refine.crf",
    "boundaries": "pcc.stages.boundaries",
    "segment": "pcc.stages.segment, pcc.models.light_head",
}
MINUTE = 60.0
WATCHED_CLOSELY = 16.0  # seconds of each job: 31 looks, one each half second


class Span(NamedTuple):
    """Seconds since the epoch."""

    start: float
    end: float


class Run(NamedTuple):
    """One call of Snakemake: when, what its jobs were and when, and its own CPU seconds by time since the epoch."""

    whole: Span
    jobs: list[Span]
    cpu: list[tuple[float, float]]

    @property
    def seconds(self) -> float:
        return self.whole.end - self.whole.start


def python_in_path(folder: Path, command: str) -> None:
    """A `python` for the rules' shell that notes when it was started and when it ended."""
    script = folder / "bin/python"
    script.parent.mkdir(parents=True)
    script.write_text(
        f"""#!/bin/bash
start=$EPOCHREALTIME
{command}
code=$?
echo "$start $EPOCHREALTIME" >> "{folder}/spans"
exit $code
"""
    )
    script.chmod(0o755)


def snakemake(folder: Path, configuration: Path, *words: str, cores: int = CORES) -> Run:
    """Run the real Snakefile in another folder."""
    spans = folder / "spans"
    spans.unlink(missing_ok=True)
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--configfile", configuration]
    command += ["--workflow-profile", ROOT / "profiles/default", "--cores", cores, "--quiet", "all", *words]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    started, cpu = time.time(), []
    process = subprocess.Popen(list(map(str, command)), cwd=folder, env=environment)
    while process.poll() is None:
        cpu.append((time.time(), own_cpu_seconds(process.pid)))
        time.sleep(0.02)
    whole = Span(started, time.time())
    if process.returncode:
        sys.exit(f"snakemake failed in {folder}")
    lines = spans.read_text().splitlines() if spans.exists() else []
    return Run(whole, sorted(Span(*map(float, line.split())) for line in lines), cpu)


def own_cpu_seconds(pid: int) -> float:
    """Of a process so far, without its children's."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finished_by_recorder(folder: Path, configuration: Path) -> int:
    """Have all that a configuration asks for written by the recorder; the number of jobs."""
    python_in_path(folder, f'"{sys.executable}" -S "{RECORDER}" "${{@:3}}"')
    (folder / "resources").symlink_to(ROOT / "resources")
    return len(snakemake(folder, configuration, cores=8).jobs)


def nothing_to_do(name: str, folder: Path, configuration: Path, jobs: int, rounds: int = 3) -> Claim:
    """Seconds of a call that finds all done."""
    runs = [snakemake(folder, configuration) for _ in range(rounds)]
    seconds = [run.seconds for run in runs]
    return Claim(
        f"nothing to do, {name}",
        sorted(seconds)[rounds // 2],
        12,
        better="lower",
        proven=not any(run.jobs for run in runs),
        seconds={"snakemake": seconds},
        facts={"jobs": jobs},
    )


def sharded(shards: int) -> dict[str, object]:
    """Maps refined by a CRF and scored, of drawn images."""
    return {
        "dataset": {
            "name": "toy",
            "format": "shapes",
            "settings": {"train": shards * IMAGES_PER_SHARD, "val": 1, "image_size": SIDE},
            "shards": {"train": shards},
        },
        "scoring": {"splits": ["train"]},
        "clusters": {"none": {"provider": "none"}},
        "methods": {"cam": {}},
        "localizations": {"cam": {"image_size": SIDE}},
        "refinements": {
            "crf": {"gaussian": {"sxy": 1, "weight": 3}, "bilateral": {"sxy": 20, "srgb": 13, "weight": 4}}
        },
        "experiments": [{"method": "cam", "localization": "cam", "refinement": "crf"}],
    }


def trained_and_localized(results: Path) -> None:
    """What training and localization would leave, drawn here: 200 starts of those would take a quarter of an hour."""
    rng = torch.Generator().manual_seed(0)
    data = Manifest.read(results / "data/manifest.csv", "train")
    run = results / "cam/seed-0"
    write_weights(run / "classifier/weights.safetensors", {"none": torch.zeros(1)})
    write_json(run / "classifier/model.json", {})
    write_text(run / "classifier/losses.csv", "phase,epoch,step,lr,loss\n")
    by_shard: dict[str, dict[str, Maps]] = {}
    for record in data.records:
        classes = (0, *data.class_ids(record))
        maps = Maps(classes, torch.rand(len(classes), 12, 12, generator=rng), (SIDE, SIDE))
        by_shard.setdefault(record.shard, {})[record.image_id] = maps
    for shard, maps in by_shard.items():
        write_maps(run / f"cam/maps/{shard}.safetensors", maps)


class Lost(NamedTuple):
    """What was no job's: seconds of the run before the first, while shards waited, after that; and CPU seconds."""

    before: float
    waiting: float
    after: float
    own_cpu: float

    @property
    def idle(self) -> float:
        return self.before + self.waiting + self.after


def lost(run: Run, shards: int) -> Lost:
    """See the docstring of this file; shards are the first of the run's jobs."""
    first, last_wait = run.jobs[0].start, run.jobs[shards - 1].start  # no shard waits after the last began
    busy = sum(min(job.end, last_wait) - job.start for job in run.jobs[:shards])
    free, reached = 0.0, last_wait
    for job in run.jobs:
        free += max(0.0, job.start - reached)
        reached = max(reached, job.end)
    own = [seconds for when, seconds in run.cpu if first <= when <= reached]
    return Lost(
        first - run.whole.start, (last_wait - first) - busy / CORES, free + run.whole.end - reached, own[-1] - own[0]
    )


def share_in_minutes(found: Lost, jobs: Sequence[Span], shards: int) -> float:
    """Both together in a run of as many shards whose jobs take a minute each."""
    watching = found.own_cpu / sum(job.end - job.start for job in jobs) * WATCHED_CLOSELY
    beside = (found.before + found.after) * CORES + shards * (found.waiting * CORES / shards + watching)
    return beside / (beside + shards * MINUTE)


def imports() -> dict[str, float]:
    """CPU seconds that a job of each sharded stage takes to import its code, the less of two."""
    found = {}
    for stage, modules in STAGES.items():
        words = [sys.executable, "-c", f"import {modules}\nimport time; print(time.process_time())"]
        taken = [
            float(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout) for _ in range(2)
        ]
        found[stage] = round(min(taken), 2)
    return found


def run_of_shards(folder: Path, shards: int) -> list[Claim]:
    """A real run, and how long it takes Snakemake afterwards to see that all is done."""
    python_in_path(folder, f'"{sys.executable}" "$@"')
    configuration = folder / "config.yaml"
    configuration.write_text(yaml.safe_dump(sharded(shards)))
    before = ("data/manifest.csv", "clusters/none/clusters.json")
    snakemake(folder, configuration, "--", *(f"results/toy/{file}" for file in before))
    trained_and_localized(folder / "results/toy")
    branch = "results/toy/cam/seed-0/cam/crf"
    words = ["--set-threads", "pseudo_masks=1", "--", f"{branch}/quality.csv", f"{branch}/metrics.json"]
    run = snakemake(folder, configuration, *words)
    masks = list((folder / branch / "pseudo_masks").glob("*/*.png"))
    found, durations = lost(run, shards), [job.end - job.start for job in run.jobs[:shards]]
    complete = len(masks) == shards * IMAGES_PER_SHARD
    own_share = found.own_cpu / CORES / run.seconds
    again = snakemake(folder, configuration, *words)
    return [
        Claim(
            f"idle, {shards} shards of seconds, measured",
            found.idle / run.seconds,
            0.03,
            better="lower",
            proven=complete,
            seconds={"run": [run.seconds], "shard's job": durations},
            facts={
                "jobs": len(run.jobs),
                "idle before the first job": f"{found.before:.2f} s",
                "while shards waited": f"{found.waiting:.2f} s",
                "after": f"{found.after:.2f} s",
                "own CPU": f"{found.own_cpu:.2f} s",
                "own CPU's share of the cores": round(own_share, 4),
                "both": round(found.idle / run.seconds + own_share, 4),
                "CPU seconds of imports": imports(),
            },
        ),
        Claim(
            f"idle and own CPU, {shards} shards of a minute, computed",
            share_in_minutes(found, run.jobs, shards),
            0.03,
            better="lower",
            proven=complete,
        ),
        Claim(
            f"nothing to do, {shards} shards",
            again.seconds,
            12,
            better="lower",
            proven=not again.jobs,
            seconds={"snakemake": [again.seconds]},
            facts={"jobs": len(run.jobs)},
        ),
    ]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=200)
    shards = parser.parse_args(given).shards
    quietly()
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, file in (("the demo", "config.yaml"), ("VOC's experiments", "config/voc12.yaml")):
            folder = Path(temporary, file.replace("/", "-"))
            folder.mkdir()
            jobs = finished_by_recorder(folder, ROOT / file)
            claims.append(nothing_to_do(name, folder, ROOT / file, jobs))
        folder = Path(temporary, "shards")
        folder.mkdir()
        claims += run_of_shards(folder, shards)
    end(claims)


if __name__ == "__main__":
    main()
