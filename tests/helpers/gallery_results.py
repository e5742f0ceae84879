"""A small run of two methods on drawn noise, as the gallery reads it: maps, pseudo masks, predictions, quality."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import Maps, write_maps
from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.files import write_json, write_text

CLASSES = ("cat", "<img src=x onerror=\"document.title='owned'\">", "boat")
ODD = "it's <b>50% #1?&=é"  # a file name like any other
TRAIN, VAL, SIDE, GRID = 10, 4, (24, 32), (6, 8)


def make_run(root: Path) -> Path:
    """Write the results of a finished run; the pseudo masks of both methods differ, and leave pixels open."""
    rng, records = np.random.default_rng(0), []
    for number in range(TRAIN + VAL):
        image_id = ODD if number == 3 else f"im{number:02d}"
        present = [0, 1 + number % 3, 1 + number // 2 % 3]
        truth = np.kron(rng.choice(present, (4, 4)), np.ones((6, 8))).astype(np.uint8)
        truth[:2] = 255
        image, mask = root / f"data/images/{image_id}.png", root / f"data/masks/{image_id}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*SIDE, 3), dtype=np.uint8)).save(image)
        write_mask(mask, truth)
        labels = tuple(CLASSES[i - 1] for i in np.unique(truth) if 0 < i < 255)
        split = "train" if number < TRAIN else "val"
        records.append(Record(image_id, image, labels, mask, split, "000", number != 0))
    Manifest(Dataset("tiny", CLASSES), tuple(records)).write(root / "data")
    write_clusters(root / "clusters/none/clusters.json", [])
    write_clusters(
        root / "clusters/taxonomy/clusters.json",
        [{"name": "animal", "members": CLASSES[:2]}, {"name": "vehicle", "members": CLASSES[2:]}],
    )
    for method in ("cam", "pcc"):
        _chain(root / f"{method}/seed-0/cam", records, rng)
    write_json(root / "pcc/seed-0/cam/metrics.json", {"kind": "maps", "mean_iou": 0.5, "oracle": True})
    rows = [f"{r.image_id},{1 + n % 3},{n / 20}\n{r.image_id},2,1" for n, r in enumerate(records[1:TRAIN])]
    quality = root / "cam/seed-0/cam/crf/quality.csv"
    write_text(quality, "image_id,class_id,confidence\n" + "\n".join(rows) + "\n")
    return root


def _chain(home: Path, records: list[Record], rng: np.random.Generator) -> None:
    maps = {}
    for record in records:
        truth = np.asarray(Image.open(str(record.mask)))
        guess = np.where((truth == 255) | (rng.random(SIDE) < 0.4), rng.integers(0, 4, SIDE), truth)
        if record.split == "val":
            write_mask(home / f"crf/light/predictions/000/{record.image_id}.png", guess.astype(np.uint8))
            continue
        guess[rng.random(SIDE) < 0.1] = 255
        write_mask(home / f"crf/pseudo_masks/000/{record.image_id}.png", guess.astype(np.uint8))
        ids = (0, *(1 + CLASSES.index(name) for name in record.labels))
        maps[record.image_id] = Maps(ids, torch.from_numpy(rng.random((len(ids), *GRID))), SIDE)
    write_maps(home / "maps/000.safetensors", maps)
