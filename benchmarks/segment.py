"""The stage `segment` of this checkout against that of another, in turn: three scales, flips and a CRF.

    git worktree add /tmp/before REVISION && python benchmarks/segment.py /tmp/before

Both predict the same images with the same network of random weights, on one thread, and must agree in every pixel.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from measure import Claim, end, in_turn, ratio

from pcc.artifacts.masks import read_mask
from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, write_weights
from pcc.models.segmenter import build_segmenter
from pcc.readers import shapes
from pcc.runtime.files import write_json

ROOT = Path(__file__).parents[1]
MODEL = {"backbone": {"name": "resnet10t", "weights": "random", "levels": [1, 2, 3, 4]}, "width": 48}
SETTINGS = {
    "scales": [0.75, 1.0, 1.25],
    "flip": True,
    "crf": {"iterations": 10, "gaussian": {"sxy": 1, "weight": 3}, "bilateral": {"sxy": 67, "srgb": 3, "weight": 4}},
}


def segment(checkout: Path, folder: Path, name: str) -> None:
    """One run of the stage, in a process of its own."""
    words = ["--manifest", folder / "data/manifest.csv", "--segmenter", folder / "trained", "--shard", "000"]
    words += ["--output", folder / name, "--settings", json.dumps(SETTINGS), "--threads", "1"]
    command = [sys.executable, "-m", "pcc", "segment", *map(str, words)]
    subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(checkout)}, check=True, capture_output=True)


def main() -> None:
    """Five rounds of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--images", type=int, default=24)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = shapes.read(folder / "data", train=1, val=asked.images, image_size=384)
        data.write(folder / "data")
        names = data.dataset.classes
        torch.manual_seed(0)
        network = build_segmenter("light_head", len(names) + 1, MODEL)
        write_weights(folder / "trained" / WEIGHTS, network.state_dict())
        made = {"type": "light_head", "classes": list(names), "model": MODEL, "supervision": "labels"}
        write_json(folder / "trained" / DESCRIPTION, made)
        ways = {"other": asked.other.absolute(), "here": ROOT}
        seconds = in_turn({name: lambda name=name: segment(ways[name], folder, name) for name in ways}, rounds=5)
        masks = sorted((folder / "here").glob("*.png"))
        equal = all((read_mask(mask) == read_mask(folder / "other" / mask.name)).all() for mask in masks)
    facts = {"images": asked.images, "masks that are equal": equal}
    end([Claim("segment, 3 scales, flip, CRF", ratio(seconds, "other", "here"), 0.97, "higher", equal, seconds, facts)])


if __name__ == "__main__":
    main()
