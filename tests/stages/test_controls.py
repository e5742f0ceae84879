"""The controls of the shipped configurations can fail: another partition trains to other weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pcc.artifacts.clusters import write_clusters
from pcc.runtime.files import digest
from pcc.stages.train import train

ROOT = Path(__file__).parents[2]
ENCODER = {"backbone": {"name": "test_vit", "settings": {"img_size": 64}}, "unfrozen_blocks": 1}
SHORT = {"image_size": 64, "batch_size": 4, "accumulate": 1, "precision": "no", "optimizer": "adamw"}
PHASES = [{"name": "warmup", "epochs": 1, "lr": 0.001}, {"name": "main", "epochs": 1, "lr": 0.001}]


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ("config.yaml", "pcc"),
        ("config/voc12.yaml", "pcc"),
        ("config/coco14.yaml", "pcc"),
        ("config/clusters.yaml", "taxonomy"),
    ],
)
def test_shuffled_clusters_train_to_other_weights(
    config: str, method: str, tiny_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    settings = yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))["methods"][method]
    manifest, digests = tiny_manifest(), set()
    for number, groups in enumerate([[["cat", "dog"], ["boat"]], [["cat", "boat"], ["dog"]]]):
        clusters = tmp_path / f"{number}.json"
        write_clusters(clusters, [{"name": str(n), "members": group} for n, group in enumerate(groups)])
        model = {**settings["model"], **ENCODER, "top_k": 3}
        training = {**SHORT, "phases": PHASES}
        train(manifest, clusters, tmp_path / str(number), type="pcc", model=model, training=training, seed=0)
        digests.add(digest(tmp_path / str(number) / "weights.safetensors"))
    assert len(digests) == 2
