"""What a stage's fingerprint may contain: a needless import is a needless rerun, and fails here."""

import ast
import re
import shutil
from pathlib import Path

import pytest
from fingerprints import Code

ROOT = Path(__file__).parents[2]
STAGES = sorted(file.stem for file in (ROOT / "pcc/stages").glob("[a-z]*.py"))

EVERY = (
    "artifacts.provenance runtime.errors runtime.files runtime.ownership runtime.ranges runtime.settings runtime.stage"
)
MANIFEST = "data.image_ids data.manifest data.stamps data.tables ids"
IMAGES = f"{MANIFEST} data.images runtime.image_files data.tensors trainable runtime.hardware"
TRAINING = (
    f"{IMAGES} artifacts.losses artifacts.masks artifacts.networks artifacts.tensors runtime.interruption "
    "runtime.parallel training.batches training.checkpoints training.feature_cache training.loop training.losses "
    "training.run training.samples"
)
NETWORK = "artifacts.networks artifacts.tensors models.backbones"
SHARDS = "artifacts.maps artifacts.shards artifacts.tensors"

# Modules of each stage beside its own and those that the configuration chooses by name.
ALLOWED = {
    "prepare": f"{MANIFEST} artifacts.masks data.checks data.classes data.images data.mask_labels runtime.image_files "
    "runtime.plugins runtime.resources",
    "clusters": f"{MANIFEST} artifacts.clusters clusters.partition clusters.providers runtime.plugins",
    "train": f"{TRAINING} {NETWORK} artifacts.clusters maps methods.base methods.loading runtime.plugins",
    "nouns": "artifacts.networks artifacts.tensors data.tables models.clip runtime.resources",
    "localize": f"{IMAGES} {NETWORK} {SHARDS} deployment deployment.localizer localizations.cam maps methods.base "
    "methods.loading models.folding runtime.plugins",
    "train_boundary": f"{TRAINING} {NETWORK} maps models.boundary refine.random_walk training.masks",
    "boundaries": f"{IMAGES} {NETWORK} {SHARDS} maps models.boundary refine.random_walk runtime.interruption "
    "runtime.parallel",
    "pseudo_masks": f"{MANIFEST} artifacts.maps artifacts.masks artifacts.tensors data.images runtime.hardware "
    "runtime.image_files runtime.interruption runtime.parallel runtime.plugins",
    "quality": f"{MANIFEST} artifacts.clusters artifacts.maps artifacts.masks artifacts.tensors maps quality "
    "runtime.image_files",
    "train_segmenter": f"{TRAINING} models.segmenter runtime.plugins training.masks",
    "segment": f"{IMAGES} artifacts.masks artifacts.networks artifacts.tensors deployment deployment.predictor "
    "models.segmenter runtime.interruption runtime.parallel runtime.plugins",
    "evaluate": f"{MANIFEST} artifacts.clusters artifacts.maps artifacts.masks artifacts.tensors configuration "
    "data.images figures.canvas figures.pictures maps metrics quality reporting.own_tables reporting.sheets "
    "runtime.image_files runtime.interruption runtime.parallel scoring.counting scoring.oracle",
    "report": "artifacts.clusters artifacts.losses clusters.partition configuration data.tables figures.canvas "
    "figures.charts reporting.costs reporting.escape reporting.failures reporting.own_tables reporting.partitions "
    "reporting.tables reporting.text results runtime.image_files",
}

# What the demo chooses by name, and a CRF after the segmenter besides.
CHOSEN = {
    "prepare": ["pcc.readers.shapes"],
    "clusters": ["pcc.clusters.providers.openai"],
    "train": ["pcc.methods.pcc"],
    "localize": ["pcc.methods.pcc", "pcc.localizations.cam"],
    "pseudo_masks": ["pcc.refine.crf"],
    "train_segmenter": ["pcc.models.light_head"],
    "segment": ["pcc.models.light_head", "pcc.refine.crf"],
}


def holds_code(module: str) -> bool:
    """Whether a module does more than say what it is: packages' `__init__` files do not."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return len(ast.parse(file.read_text(encoding="utf-8")).body) > 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_it_needs_and_nothing_else(stage: str) -> None:
    closure = {name for name in Code(ROOT).closure(f"pcc.stages.{stage}") if holds_code(name)}
    allowed = {f"pcc.{name}" for name in [f"stages.{stage}", *EVERY.split(), *ALLOWED[stage].split()]}
    assert closure == allowed


EDITS = [
    # file, what reruns: house by house, the edits that used to rerun nearly everything
    ("mean_field/lattice.h", {"pseudo_masks", "segment"}),
    ("models/segmenter.py", {"train_segmenter", "segment"}),
    ("methods/base.py", {"train", "localize"}),
    ("stages/quality.py", {"quality"}),
    ("training/loop.py", {"train", "train_boundary", "train_segmenter"}),
    ("deployment/predictor.py", {"segment"}),
    ("deployment/package.py", set()),
    ("figures/charts.py", {"report"}),
    ("clusters/replies.py", {"clusters"}),
    ("training/samples.py", {"train", "train_boundary", "train_segmenter"}),
    ("runtime/progress.py", set()),
    ("scoring/selection.py", set()),
    ("refine/random_walk.py", {"train_boundary", "boundaries"}),
    ("artifacts/shards.py", {"localize", "boundaries"}),
    ("tools/init.py", set()),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "pcc", folder / "pcc", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def fingerprints(folder: Path) -> dict[str, str]:
    code = Code(folder)
    return {stage: code.fingerprint(f"pcc.stages.{stage}", *CHOSEN.get(stage, ())) for stage in STAGES}


@pytest.mark.parametrize(("file", "reruns"), EDITS)
def test_an_edit_reruns_what_depends_on_it(copy: Path, file: str, reruns: set[str]) -> None:
    before, path = fingerprints(copy), copy / "pcc" / file
    kept = path.read_text(encoding="utf-8")
    path.write_text(kept + ("int edited = 1;\n" if file.endswith(".h") else "\nEDITED = 1\n"), encoding="utf-8")
    after = fingerprints(copy)
    path.write_text(kept, encoding="utf-8")
    assert {stage for stage in STAGES if before[stage] != after[stage]} == reruns


def test_every_stage_of_the_workflow_is_asked_for_its_code() -> None:
    rules = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "workflow/rules").glob("*.smk"))
    assert sorted(set(re.findall(r'"pcc\.stages\.(\w+)"', rules))) == STAGES == sorted(ALLOWED)
