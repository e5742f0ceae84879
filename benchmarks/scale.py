"""The workflow on 2,000 and on 20,000 drawn images: time per image and peak memory of every stage, side by side.

    python benchmarks/scale.py [--images 2000 20000] [--folder FOLDER]

A rehearsal for COCO's 82,081 images: the growth of time should be linear (within 1.1), that of memory nothing (within
10 %). The network is tiny, so that what is measured is everything around it. Prints a table and one JSON line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from pcc.runtime.files import read_json

ROOT = Path(__file__).parents[1]
PER_SHARD = 500
STAGES = {  # and where each leaves its provenance
    "prepare": "data/provenance.json",
    "train": "cam/seed-0/classifier/provenance.json",
    "localize": "cam/seed-0/cam/maps/*.provenance.json",
    "pseudo_masks": "cam/seed-0/cam/argmax/pseudo_masks/*/provenance.json",
    "quality": "cam/seed-0/cam/argmax/quality.provenance.json",
    "evaluate": "cam/seed-0/**/metrics.provenance.json",
}
NETWORK = {
    "name": "resnet10t",
    "weights": "random",
    "settings": {"channels": [8, 8, 16, 16], "stem_width": 8, "avg_down": False, "output_stride": 8},
}


def configuration(images: int) -> dict[str, object]:
    """Plain CAMs of one epoch, as arg-max, scored."""
    phases = [{"name": "main", "epochs": 1, "lr": 1e-3}]
    return {
        "seeds": [0],
        "dataset": {
            "name": f"images_{images}",
            "format": "shapes",
            "settings": {"train": images, "val": 1, "image_size": 48},
            "shards": {"train": images // PER_SHARD},
        },
        "scoring": {"splits": ["train"]},
        "clusters": {"none": {"provider": "none"}},
        "methods": {
            "cam": {
                "model": {"backbone": NETWORK, "unfrozen_blocks": "all"},
                "training": {"image_size": 48, "batch_size": 50, "phases": phases},
            }
        },
        "localizations": {"cam": {"image_size": 48, "scales": [1.0], "flip": True, "batch_size": 50}},
        "refinements": {"argmax": {}},
        "experiments": [{"method": "cam", "localization": "cam", "refinement": "argmax"}],
    }


def run(images: int, folder: Path) -> pd.DataFrame:
    """Milliseconds per image, by the clock and of the CPU, and largest peak memory, by stage.

    Times are from Snakemake's benchmark files, memory from the provenance: Snakemake only looks now and then.
    """
    file = folder / f"{images}.yaml"
    file.write_text(yaml.safe_dump(configuration(images)))
    words = ["-s", ROOT / "Snakefile", "--configfile", file, "--directory", folder, "--cores", "1", "--quiet", "all"]
    subprocess.run([sys.executable, "-m", "snakemake", *map(str, words)], check=True)
    rows = {}
    for stage, pattern in STAGES.items():
        files = (folder / f"results/images_{images}/benchmarks").rglob(f"{stage}*.tsv")
        table = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
        rows[stage] = {
            "jobs": len(table),
            "ms": 1000 * table["s"].sum() / images,
            "cpu_ms": 1000 * table["cpu_time"].sum() / images,
            "mb": max(
                read_json(path)["peak_memory_mb"] for path in (folder / f"results/images_{images}").glob(pattern)
            ),
        }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=(2000, 20000), metavar=("FEW", "MANY"))
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        few, many = (run(images, folder) for images in given.images)
    table = few.add_suffix("_few").join(many.add_suffix("_many"))
    for what, column in (("time", "ms"), ("cpu", "cpu_ms"), ("memory", "mb")):
        table[f"{what}_growth"] = table[f"{column}_many"] / table[f"{column}_few"]
    print(table.round(2).to_string())
    print(json.dumps({"claim": "scale", "images": list(given.images), "stages": table.round(3).T.to_dict()}))


if __name__ == "__main__":
    main()
