"""`pcc localize` against the plain loop of the field: real photographs, four scales and their mirror images, two cores.

Theirs, as CAM scripts are written (IRN's, SIPE's): one image and one scale at a time, with its mirror image beside it;
resized by Pillow, fp32, no gradients; the logits of all classes brought to the image's own size and added up there;
``np.save`` of the background's and the present classes' maps in fp32. The network is timm's own, as it comes.
Ours is the stage, once in the precision that it finds best here (``auto``) and once in fp32, which any machine has.

Both have the same trained weights, begin with loading them, and run in a process of their own, without the time of
importing torch. They must agree on the class of 99.5 % of all pixels.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import real
import torch
from measure import Claim, end, in_turn, quietly, ratio
from PIL import Image
from torch.nn import functional

from pcc.artifacts.maps import read_maps
from pcc.data.manifest import Manifest
from pcc.maps import to_mask
from pcc.methods.loading import load_classifier
from pcc.stages.localize import localize

IMAGES, ROUNDS, THREADS = 24, 2, 2  # each round has its share of the images
SCALES = [1.0, 0.5, 1.5, 2.0]
SPEED, AGREEMENT = 2.5, 0.995


def theirs(folder: Path) -> None:
    """The plain loop."""
    torch.set_num_threads(THREADS)
    data, method = Manifest.read(folder / "data/manifest.csv"), load_classifier(real.CLASSIFIER)
    network = method.backbone.network.to(memory_format=torch.contiguous_format)
    mean, std = method.backbone.mean, method.backbone.std
    for record in data.records:
        image = Image.open(record.image).convert("RGB")
        width, height = image.size
        total = torch.zeros(())
        for scale in SCALES:
            view = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
            tensor = torch.from_numpy(np.asarray(view, np.float32).transpose(2, 0, 1).copy() / 255)
            tensor = ((tensor - mean) / std)[None]
            with torch.no_grad():
                pair = torch.cat([tensor, tensor.flip(-1)])
                features = network.forward_intermediates(pair, indices=1, intermediates_only=True)[0]
                seen = method.classifier(features)
                logits = (seen[:1] + seen[1:].flip(-1)) / 2
                total = total + functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        cams = torch.relu(total[0])
        cams = cams / (cams.amax(dim=(1, 2), keepdim=True) + 1e-5)
        background = 1 - cams.amax(dim=0, keepdim=True)
        present = cams[[class_id - 1 for class_id in data.class_ids(record)]]
        np.save(folder / f"{record.image_id}.npy", torch.cat([background, present]).numpy())


def ours(precision: str, folder: Path) -> None:
    """The stage."""
    torch.set_num_threads(THREADS)
    quietly()
    localize(
        folder / "data/manifest.csv",
        real.CLASSIFIER,
        folder / f"{precision}.safetensors",
        shard="000",
        type="cam",
        image_size=None,
        resize="keep",
        scales=SCALES,
        flip=True,
        batch_size=4,
        precision=precision,
        threads=THREADS,
    )


def agreement(folders: list[Path], precision: str) -> float:
    """Share of all pixels that both give to the same class."""
    same, pixels = 0, 0
    for folder in folders:
        for image_id, maps in read_maps(folder / f"{precision}.safetensors"):
            strongest = np.load(folder / f"{image_id}.npy").argmax(axis=0)
            mask = to_mask(maps.values, maps.classes, maps.size)
            same += int((np.array(maps.classes)[strongest] == mask).sum())
            pixels += mask.size
    return same / pixels


def chosen(folder: Path) -> list[Path]:
    """A folder for each round, with a manifest of a few images from all over the split, of whatever sizes they are."""
    data = real.training_images()
    records = data.records[:: len(data.records) // IMAGES][:IMAGES]
    folders = [folder / str(number) for number in range(ROUNDS)]
    for number, part in enumerate(folders):
        of_round = tuple(replace(record, shard="000") for record in records[number::ROUNDS])
        replace(data, records=of_round).write(part / "data")
    return folders


def in_own_process(pool: ProcessPoolExecutor, way: Callable[[Path], None], folder: Path) -> None:
    """Run one side where it has run before."""
    pool.submit(way, folder).result()


def main() -> None:
    """All ways in turn, and how far they agree."""
    real.workflow(real.CLASSIFIER / "weights.safetensors")
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    context = multiprocessing.get_context("spawn")
    sides = {"theirs": theirs, "auto": partial(ours, "auto"), "no": partial(ours, "no")}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as temporary:
        folders = chosen(Path(temporary))
        pools = {name: ProcessPoolExecutor(1, context) for name in sides}
        for pool in pools.values():
            pool.submit(quietly).result()  # imports are over before the clock starts
        for folder in folders:
            ways = {name: partial(in_own_process, pools[name], side, folder) for name, side in sides.items()}
            for name, taken in in_turn(ways, rounds=1, warm_up=False).items():
                seconds[name] += taken
        claims = []
        for precision in ("auto", "no"):
            equal = agreement(folders, precision)
            claims.append(
                Claim(
                    f"localization, 4 scales and flip, precision {precision}",
                    ratio(seconds, "theirs", precision),
                    SPEED,
                    proven=equal >= AGREEMENT,
                    seconds={"theirs": seconds["theirs"], "ours": seconds[precision]},
                    facts={"images": IMAGES, "pixels that agree": f"{equal:.4%}", "threads": THREADS},
                )
            )
        for pool in pools.values():
            pool.shutdown()
    end(claims)


if __name__ == "__main__":
    main()
