"""A tiny finished run: a data set with void and unscored images, and maps, pseudo masks and predictions of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import Maps, write_maps
from pcc.artifacts.masks import write_mask
from pcc.data.manifest import Dataset, Manifest, Record

CLASSES = ("cat", "dog", "boat")
SIDE = (24, 30)


@dataclass(frozen=True)
class Results:
    root: Path
    manifest: Path
    clusters: Path

    @property
    def data(self) -> Manifest:
        return Manifest.read(self.manifest)

    def shards(self, kind: str, suffix: str = "") -> list[Path]:
        return [self.root / f"cam/seed-0/cam/{kind}/{shard}{suffix}" for shard in ("000", "001")]


@pytest.fixture
def make_results(tmp_path: Path) -> Callable[..., Results]:
    """Write eight training images in two shards, the last of them not scored, and what a run leaves of them."""

    def make(scored: bool = True, eval_classes: tuple[str, ...] = ()) -> Results:
        root, rng, records = tmp_path / "results", np.random.default_rng(0), []
        run = root / "cam/seed-0/cam"
        for number in range(8):
            image_id, shard = f"im{number}", f"{number // 4:03d}"
            truth = np.kron(rng.integers(0, 3, (4, 5)), np.ones((6, 6))).astype(np.uint8)
            truth[truth == 2] = 1 + number % 3
            truth[:2] = 255
            image = rng.integers(0, 256, (*SIDE, 3), dtype=np.uint8)
            path = root / f"data/images/{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            write_mask(root / f"data/masks/{image_id}.png", truth)
            present = [int(i) for i in np.unique(truth) if 0 < i < 255]
            labels = tuple(CLASSES[i - 1] for i in present)
            mask = root / f"data/masks/{image_id}.png" if scored else None
            records.append(Record(image_id, path, labels, mask, "train", shard, scored and number < 7))
            guess = np.where(rng.random(SIDE) < 0.3, rng.integers(0, 4, SIDE), np.where(truth == 255, 0, truth))
            write_mask(run / f"predictions/{shard}/{image_id}.png", guess.astype(np.uint8))
            guess[rng.random(SIDE) < 0.1] = 255
            write_mask(run / f"pseudo_masks/{shard}/{image_id}.png", guess.astype(np.uint8))
        for shard in ("000", "001"):
            inside = [r for r in records if r.shard == shard]
            maps = {}
            for record in inside:
                ids = [0, *(1 + CLASSES.index(name) for name in record.labels)]
                maps[record.image_id] = Maps(tuple(ids), torch.from_numpy(rng.random((len(ids), 6, 7))), SIDE)
            write_maps(run / f"maps/{shard}.safetensors", maps)
        Manifest(Dataset("tiny", CLASSES, None, eval_classes), tuple(records)).write(root / "data")
        clusters = root / "clusters/taxonomy/clusters.json"
        write_clusters(clusters, [{"name": "animal", "members": ["cat", "dog"]}, {"name": "rest", "members": ["boat"]}])
        return Results(root, root / "data/manifest.csv", clusters)

    return make


@pytest.fixture
def results(make_results: Callable[..., Results]) -> Results:
    return make_results()
