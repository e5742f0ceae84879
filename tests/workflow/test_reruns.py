"""The real Snakefile, with a command line that only records: what runs, with what, and what an edit reruns."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from settings import CLIP, CRF, METHOD, MODEL, TRAINING

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = {
    "seeds": [0],
    "dataset": {"name": "toy", "format": "shapes", "shards": {"train": 2, "val": 1}},
    "scoring": {"clusters": "taxonomy"},
    "clusters": {"taxonomy": {}, "none": {}, "llm": {"provider": "openai", "model": "parrot"}},
    "methods": {"pcc": {"clusters": "taxonomy", "model": {**MODEL, "top_k": 6}, "training": TRAINING}, "cam": METHOD},
    "localizations": {"cam": {"image_size": 96}, "iscam": {"image_size": 96}},
    "refinements": {"argmax": {}, "crf": CRF},
    "segmenters": {"light": {"type": "light_head", **METHOD}},
    "experiments": [
        {"method": "cam", "localization": "cam", "refinement": "crf"},
        {"method": "pcc", "localization": "iscam", "refinement": "argmax"},
        {"method": "pcc", "localization": "iscam", "refinement": "crf", "segmenter": "light"},
        {"supervision": "masks", "segmenter": "light"},
    ],
}


class Project:
    """A copy of the project whose stages only record their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("workflow", "profiles", "pcc", "resources"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", folder)
        shutil.copy(Path(__file__).with_name("recorder.py"), folder / "pcc" / "__main__.py")
        self.configure(CONFIG)

    def configure(self, config: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def snakemake(self, *arguments: str, failing: str = "") -> str:
        """Standard output and error of one run, which must succeed unless a stage is to fail."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "FAILING": failing}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) != bool(failing), done.stdout + done.stderr
        return done.stdout + done.stderr

    def pending(self, *arguments: str) -> list[str]:
        """Rule and outputs of every job that would run, without those that collect everything."""
        found = re.findall(
            r"^(?:local)?rule (\w+):\n(?:    input: .*\n)?    output: (.*)$",
            self.snakemake("-n", *arguments),
            re.MULTILINE,
        )
        return [f"{rule}: {output}" for rule, output in found if rule != "report"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.snakemake()
    return project


@pytest.fixture
def edited(finished: Project):
    """The finished project; what a test edits is put back afterwards."""
    kept = {p: p.read_bytes() for p in [*finished.folder.glob("pcc/**/*.py"), finished.folder / "config.yaml"]}
    yield finished
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def calls(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.folder / "calls.jsonl").read_text().splitlines()]


def test_experiments_share_what_they_have_in_common(finished: Project) -> None:
    assert Counter(call["stage"] for call in calls(finished)) == {
        "prepare": 1,
        "clusters": 2,
        "train": 2,  # pcc once for two experiments
        "localize": 4,  # two branches, two shards
        "pseudo_masks": 6,
        "quality": 3,
        "train_segmenter": 2,  # weak and full
        "segment": 2,
        "evaluate": 7,  # maps twice, pseudo masks three times, predictions twice
        "report": 1,
    }


def test_a_prompt_asks_the_language_model_again_and_nothing_else_does(edited: Project) -> None:
    """A classifier of its own shows what follows."""
    methods = {**CONFIG["methods"], "asked": {"type": "pcc", "clusters": "llm", **METHOD}}
    experiments = [*CONFIG["experiments"], {"method": "asked", "localization": "cam"}]
    edited.configure(CONFIG | {"methods": methods, "experiments": experiments})
    assert "train: results/toy/asked" in " ".join(edited.pending()), "a new experiment runs on finished results"
    edited.snakemake()
    prompts = edited.folder / "pcc/resources/prompts/clusters.yaml"
    kept = prompts.read_text()
    prompts.write_text(kept.replace("version: 1", "version: 2"))
    pending = edited.pending()
    assert "clusters: results/toy/clusters/llm/clusters.json" in pending
    assert not [job for job in pending if "taxonomy" in job or "/pcc/" in job or "/cam/seed" in job]
    prompts.write_text(kept)


def test_a_walk_brings_its_boundaries_and_the_masks_they_are_learned_from(edited: Project) -> None:
    walk = {"type": "random_walk", "beta": 8, "boundary": {"labels": "crf", "model": MODEL, "training": TRAINING}}
    experiment = {"method": "pcc", "localization": "cam", "refinement": "walk"}
    changes = {
        "refinements": {**CONFIG["refinements"], "walk": walk},
        "experiments": [*CONFIG["experiments"], experiment],
    }
    edited.configure(CONFIG | changes)
    edited.snakemake()
    run = "results/toy/pcc/seed-0/cam"
    called = {call["stage"]: call for call in calls(edited)}
    assert called["train_boundary"]["--masks"] == [f"{run}/crf/pseudo_masks/{shard}" for shard in ("000", "001")]
    assert json.loads(called["train_boundary"]["--settings"][0]) == {"model": MODEL, "training": TRAINING}
    assert called["boundaries"]["--network"] == [f"{run}/walk/boundary"]
    masks = [c for c in calls(edited) if c["--output"][0].startswith(f"{run}/walk/pseudo_masks")]
    for call in masks:
        shard = Path(call["--output"][0]).name
        assert call["--boundaries"] == [f"{run}/walk/boundaries/{shard}.safetensors"]
    assert json.loads(masks[0]["--settings"][0]) == {"type": "random_walk", "beta": 8}
    edited.configure(CONFIG | {**changes, "refinements": {**changes["refinements"], "walk": {**walk, "beta": 9}}})
    assert {job.split(":")[0] for job in edited.pending()} == {"pseudo_masks", "quality", "evaluate"}


def test_methods_begin_with_others_and_prompts_are_learned_once(edited: Project) -> None:
    def config(weight: float) -> dict[str, Any]:
        semples = {"type": "semples", "model": {"clip": CLIP}, "training": TRAINING}
        methods = {
            **CONFIG["methods"],
            "prompts": {**semples, "after": {"generator": "pcc"}, "nouns": "resources/nouns.txt"},
            "refined": {
                **semples,
                "after": {"generator": "pcc", "prompts": "prompts"},
                "model": {"clip": CLIP, "refine_weight": weight},
            },
        }
        experiment = {"method": "refined", "localization": "cam", "refinement": "crf"}
        return CONFIG | {"methods": methods, "experiments": [*CONFIG["experiments"], experiment]}

    edited.configure(config(0.05))
    edited.snakemake()
    trained = {Path(c["--output"][0]).parts[2]: c for c in calls(edited) if c["stage"] == "train"}
    folder = "results/toy/{}/seed-0/classifier"
    assert "--after" not in trained["pcc"]
    assert trained["prompts"]["--after"] == [f"generator={folder.format('pcc')}"]
    assert trained["refined"]["--after"] == [f"generator={folder.format('pcc')}", f"prompts={folder.format('prompts')}"]
    (named,) = [c for c in calls(edited) if c["stage"] == "nouns"]
    assert named["--output"] == ["results/toy/prompts/seed-0/nouns.csv"]
    words = edited.folder / "resources/nouns.txt"
    kept = words.read_text()
    words.write_text(kept + "zebra\n")
    assert [job.split(":")[0] for job in edited.pending()] == ["nouns"], "no training reads the nouns"
    words.write_text(kept)
    edited.configure(config(0.2))  # a new weight of the refinement
    assert {job.split("/seed-0")[0] for job in edited.pending()} == {
        f"{stage}: results/toy/refined" for stage in ("train", "localize", "pseudo_masks", "quality", "evaluate")
    }
    edited.configure(config(0.05))
    module = edited.folder / "pcc/methods/pcc.py"  # the generator's code is the refined method's too
    module.write_text(module.read_text().replace("divide_by_maximum: bool = True", "divide_by_maximum: bool = False"))
    pending = edited.pending()
    assert any(job.startswith("localize: results/toy/refined") for job in pending)


def test_stages_are_handed_their_slice_of_the_configuration(finished: Project) -> None:
    by_stage = {call["stage"]: call for call in calls(finished)}
    trained = [json.loads(c["--settings"][0]) for c in calls(finished) if c["stage"] == "train"]
    assert {"type": "pcc", "model": {**MODEL, "top_k": 6}, "training": TRAINING} in trained
    assert json.loads(by_stage["prepare"]["--settings"][0])["shards"] == {"train": 2, "val": 1}
    segmenters = [c for c in calls(finished) if c["stage"] == "train_segmenter"]
    weak, full = sorted(segmenters, key=lambda call: "--supervision" in call)
    crf = "results/toy/pcc/seed-0/iscam/crf/pseudo_masks"
    assert weak["--masks"] == [f"{crf}/000", f"{crf}/001"]
    assert full["--supervision"] == ["masks"]
    assert "--masks" not in full


def test_numbers_know_the_choices_behind_them(finished: Project) -> None:
    scored = {c["--output"][0]: c for c in calls(finished) if c["stage"] == "evaluate"}
    metrics = scored["results/toy/pcc/seed-0/iscam/crf/light/metrics.json"]
    assert (metrics["--kind"], metrics["--split"]) == (["predictions"], ["val"])
    assert json.loads(metrics["--experiment"][0]) == {
        "dataset": "toy",
        "method": "pcc",
        "seed": 0,
        "localization": "iscam",
        "refinement": "crf",
        "segmenter": "light",
        "supervision": "labels",
    }
    maps = scored["results/toy/cam/seed-0/cam/metrics.json"]
    assert maps["--kind"] == ["maps"]
    assert len(maps["--input"]) == 2
    assert maps["--clusters"] == ["results/toy/clusters/taxonomy/clusters.json"]


def test_comments_docstrings_and_reformatting_rerun_nothing(edited: Project) -> None:
    path = edited.folder / "pcc" / "prototypes.py"
    source = path.read_text()
    path.write_text('"""Another docstring."""\n\n\n# A comment.\n' + source.split('"""', 2)[2])
    assert edited.pending() == []


def test_an_edit_of_prototypes_reruns_the_branches_that_use_them(edited: Project) -> None:
    path = edited.folder / "pcc" / "prototypes.py"
    path.write_text(path.read_text() + "\nANOTHER = 1\n")
    pending = edited.pending()
    assert {job.split(":")[0] for job in pending} == {
        "localize",
        "pseudo_masks",
        "quality",
        "train_segmenter",
        "segment",
        "evaluate",
    }
    assert all("/iscam/" in job for job in pending)


def test_one_changed_number_reruns_from_there_on(edited: Project) -> None:
    edited.configure({**CONFIG, "refinements": {"argmax": {}, "crf": {**CRF, "iterations": 5}}})
    pending = edited.pending()
    assert {job.split(":")[0] for job in pending} == {
        "pseudo_masks",
        "quality",
        "train_segmenter",
        "segment",
        "evaluate",
    }
    assert all("/crf/" in job for job in pending)
    assert len([job for job in pending if job.startswith("pseudo_masks")]) == 4


def test_data_without_masks_ends_with_the_last_artifact(edited: Project) -> None:
    edited.configure({**CONFIG, "scoring": {"splits": ["val"]}})
    summary = [line for line in edited.snakemake("-n", "--forceall").splitlines() if line.startswith("evaluate ")]
    assert summary
    assert summary[0].split()[1] == "2"


def test_a_configfile_stands_alone(edited: Project, tmp_path: Path) -> None:
    other = {**CONFIG, "dataset": {"name": "other", "format": "shapes"}, "experiments": CONFIG["experiments"][:1]}
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(other))
    pending = edited.pending("--configfile", str(file))
    assert pending
    assert all("results/other/" in job for job in pending)
    assert not any("/000" in job and "/001" in job for job in pending)
    assert sum(job.startswith("localize") for job in pending) == 1  # the demo's two shards do not leak in


@pytest.mark.parametrize(
    ("failing", "change"),
    [
        ("prepare", {"dataset": {**CONFIG["dataset"], "settings": {"seed": 1}}}),
        ("train", {"methods": {**CONFIG["methods"], "cam": {**METHOD, "training": {**TRAINING, "batch_size": 3}}}}),
        ("localize", {"localizations": {**CONFIG["localizations"], "cam": {"image_size": 95}}}),
        ("pseudo_masks", {"refinements": {**CONFIG["refinements"], "crf": {**CRF, "iterations": 9}}}),
    ],
)
def test_what_failed_is_run_again_though_all_that_follows_is_there(
    edited: Project, failing: str, change: dict[str, Any]
) -> None:
    """The output of a failed job is deleted; then the cause is put right, by going back."""
    edited.configure(CONFIG | change)
    edited.snakemake(failing=failing)
    edited.configure(CONFIG)
    assert any(job.startswith(failing) for job in edited.pending()), "not: nothing to be done"
    edited.snakemake()
    assert not edited.pending()


def test_another_order_of_the_classes_reruns_the_trainings(edited: Project) -> None:
    """It is in dataset.json alone: the manifest names labels."""
    dataset = edited.folder / "results/toy/data/dataset.json"
    before, content = dataset.stat(), dataset.read_bytes()
    dataset.write_text("another order")
    pending = edited.pending()
    dataset.write_bytes(content)
    os.utime(dataset, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert {job.split(":")[0] for job in pending} >= {"train", "train_segmenter", "localize", "pseudo_masks", "segment"}


@pytest.mark.parametrize("change", ["added", "replaced", "deleted"])
def test_a_change_of_images_prepares_again(edited: Project, change: str) -> None:
    photos = edited.folder / "photos"
    photos.mkdir(exist_ok=True)
    (photos / "a.jpg").write_bytes(b"a")
    (photos / "b.jpg").unlink(missing_ok=True)
    edited.configure(CONFIG | {"dataset": {"name": "mine", "format": "folder", "settings": {"images": "photos"}}})
    edited.snakemake()
    assert not edited.pending()
    match change:
        case "added":
            (photos / "b.jpg").write_bytes(b"b")
        case "replaced":
            (photos / "a.jpg").write_bytes(b"c")
        case "deleted":
            (photos / "a.jpg").unlink()
    assert any(job.startswith("prepare") for job in edited.pending())
