"""Images per second of `pcc predict`, by PyTorch and by onnxruntime, on the same images with the same settings.

    python benchmarks/predict.py [--model FOLDER] [--images 32] [--threads 1]

FOLDER is one that `pcc export` wrote, with its model.onnx; without it, a small network of random weights is exported
first. Images are drawn. All that `pcc predict` does is timed but for loading the model: reading, both views, masks,
overlays, COCO results. Prints a table and one JSON line; exit code 1 where the masks of the two engines differ in more
than one pixel of a thousand.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import torch

from pcc.artifacts.masks import read_mask
from pcc.artifacts.networks import write_weights
from pcc.deployment.inputs import find_images
from pcc.deployment.predictor import Predictor
from pcc.models.segmenter import build_segmenter
from pcc.readers import shapes
from pcc.runtime.files import read_json, write_json
from pcc.tools import predict as stage
from pcc.tools.export import export

SIDE, CLASSES, REPEATS = 256, 20, 3
MODEL = {"backbone": {"name": "tf_efficientnet_lite0"}, "width": 64}
ENGINES = ("torch", "onnx")


def random_model(folder: Path) -> Path:
    """A small network of random weights, exported as if it had been trained."""
    torch.manual_seed(0)
    names = [f"class_{number}" for number in range(CLASSES)]
    made = {"type": "light_head", "classes": names, "model": MODEL, "supervision": "labels"}
    write_json(folder / "segmenter/model.json", made)
    network = build_segmenter("light_head", CLASSES + 1, MODEL)
    write_weights(folder / "segmenter/weights.safetensors", network.state_dict())
    export(folder, folder / "model")
    return folder / "model"


def images_per_second(model: Path, photos: Path, output: Path, engine: str, threads: int) -> float:
    """One run over all photos, the model loaded before the clock starts."""
    precision = {"precision": "no"} if engine == "onnx" else {}
    predictor = Predictor.load(model, engine=engine, device="cpu", threads=threads, **precision)
    found, _ = find_images([str(photos)])
    start = time.perf_counter()
    done = list(stage.predicted(predictor, found, stage.Outputs(output, False), threads))
    assert all(one.problem is None for one in done)
    return len(done) / (time.perf_counter() - start)


def agreement(first: Path, second: Path) -> float:
    """Share of the pixels that have the same class in both folders of masks."""
    shares = [float((read_mask(file) == read_mask(second / file.name)).mean()) for file in sorted(first.glob("*.png"))]
    return sum(shares) / len(shares)


def main() -> None:
    """Both engines in turn, three times each; the best of each is reported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of pcc export")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    logging.disable()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = asked.model or random_model(folder / "trained")
        shapes.read(folder / "data", train=asked.images, val=1, image_size=SIDE)
        photos = folder / "data/images"
        next(photos.glob("val_*")).unlink()
        speeds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for _ in range(REPEATS):
            for engine in ENGINES:
                speeds[engine].append(images_per_second(model, photos, folder / engine, engine, asked.threads))
        same = agreement(folder / "torch/masks", folder / "onnx/masks")
        prediction = read_json(model / "config.json")["prediction"]
    best = {engine: round(max(values), 2) for engine, values in speeds.items()}
    print(f"{'engine':8}{'images/s':>10}")
    for engine, speed in best.items():
        print(f"{engine:8}{speed:10.2f}")
    print(json.dumps({
        "claim": "predict", "images": asked.images, "side": SIDE, "threads": asked.threads,
        "model": str(asked.model.name) if asked.model else MODEL["backbone"]["name"], "prediction": prediction,
        "images_per_second": best, "ratio": round(best["onnx"] / best["torch"], 2), "pixels_that_agree": same,
    }))  # fmt: skip
    sys.exit(same < 0.999)


if __name__ == "__main__":
    main()
