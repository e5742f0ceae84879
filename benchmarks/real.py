"""Real photographs and what the workflow makes of them, for benchmarks that depend on what images look like."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from pcc.artifacts.maps import Maps, read_maps
from pcc.data.manifest import Manifest, Record

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "../shared/data/voc12_mini"
CONFIGURATION = "config/voc12_mini_sipe.yaml"
RESULTS = ROOT / "results/voc12_mini_sipe"
CLASSIFIER = RESULTS / "sipe/seed-0/classifier"
MAPS = RESULTS / "sipe/seed-0/iscam/maps/000.safetensors"


@cache
def workflow(*targets: Path) -> None:
    """Have the workflow make files of SIPE on voc12_mini; those that are there already cost it two seconds, once.

    Ends the benchmark, with a line that says why, where the photographs are absent.
    """
    if not PHOTOS.exists():
        print(f"skipped: this benchmark needs the photographs of {PHOTOS}, which are absent")
        sys.exit(0)
    wanted = [str(target.relative_to(ROOT)) for target in targets]
    # Targets first: several options take all words that follow them.
    command = ["snakemake", *wanted, "--cores", "2", "--configfile", CONFIGURATION, "--quiet", "all"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def training_images() -> Manifest:
    """The training split."""
    workflow(RESULTS / "data/manifest.csv")
    return Manifest.read(RESULTS / "data/manifest.csv", "train")


def localized(count: int) -> list[tuple[Record, Maps]]:
    """The first ``count`` training images with the maps that SIPE's image-specific CAMs gave them."""
    workflow(RESULTS / "data/manifest.csv", MAPS)
    records = {record.image_id: record for record in training_images().records}
    return [(records[image_id], maps) for image_id, maps in list(read_maps(MAPS))[:count]]
