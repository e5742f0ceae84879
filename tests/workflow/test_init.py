"""What `pcc init` writes is a configuration of this workflow: by its own check, a dry run, and a run to the end."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration import check_config
from strangers import draw_photos

from pcc.tools.init import init

ROOT = Path(__file__).parents[2]


def call(folder: Path, module: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def snakemake(folder: Path, *arguments: str) -> str:
    places = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", "mine.yaml", "--cores", "2")
    return call(folder, "snakemake", *places, *arguments)


@pytest.fixture(scope="module", params=["csv", "folders"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn photos, and what `pcc init` writes about them."""
    folder = tmp_path_factory.mktemp(request.param)
    draw_photos(folder / "photos", 24, request.param, image_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("pcc.planning.measuring.TYPICAL", (60, 80))  # a smaller image is measured sooner
        init(Path("photos"), Path("mine.yaml"), name="drawn")
    return folder


def read(home: Path) -> Any:
    return yaml.safe_load((home / "mine.yaml").read_text(encoding="utf-8"))


def test_the_schema_has_nothing_to_say(home: Path) -> None:
    check_config(read(home), ROOT)


def test_a_dry_run_plans_every_step(home: Path) -> None:
    planned = snakemake(home, "-n")
    for rule in ("prepare", "train", "localize", "pseudo_masks", "train_segmenter", "segment"):
        assert f"rule {rule}:" in planned
    assert "results/drawn/pcc/seed-0/cam/crf/light/predictions/000" in planned
    assert "rule evaluate:" not in planned  # there are no masks


@pytest.mark.slow
def test_it_runs_to_the_end_with_small_edits(home: Path) -> None:
    """A network from scratch, smaller images and fewer epochs: edits that a user may make."""
    if home.name.startswith("folders"):
        pytest.skip("the same from here on")
    config = read(home)
    small = {
        "name": "resnet10t",
        "weights": "random",
        "settings": {"channels": [8, 8, 8, 8], "stem_width": 8, "output_stride": 8},
    }
    config["experiments"] = [e for e in config["experiments"] if "segmenter" in e]
    for entry in (*config["methods"].values(), *config["segmenters"].values()):
        levels = entry["model"]["backbone"].get("levels")
        entry["model"]["backbone"] = small | ({"levels": levels} if levels else {})
        entry["training"]["image_size"] = 64
        entry["training"]["phases"] = [{**phase, "epochs": 1} for phase in entry["training"]["phases"]]
    for entry in config["localizations"].values():
        entry["image_size"] = 64
    config["segmenters"]["light"]["prediction"]["image_size"] = 64
    # On a random encoder, shared weights end with background everywhere, which the segmenter refuses.
    config["methods"]["pcc"]["clusters"] = "none"
    (home / "mine.yaml").write_text(yaml.safe_dump(config))
    snakemake(home)
    run = home / "results/drawn/pcc/seed-0/cam/crf"
    pseudo, predicted = run.glob("pseudo_masks/*/*.png"), run.glob("light/predictions/*/*.png")
    assert len([*pseudo, *predicted]) == 24
