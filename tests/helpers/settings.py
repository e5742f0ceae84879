"""Settings that a configuration cannot do without, for tests that are about something else."""

from typing import Any

MODEL: dict[str, Any] = {"backbone": {"name": "resnet10t"}}
TRAINING: dict[str, Any] = {"image_size": 96, "batch_size": 2, "phases": [{"name": "main", "epochs": 1, "lr": 0.001}]}
METHOD: dict[str, Any] = {"model": MODEL, "training": TRAINING}
CRF: dict[str, Any] = {
    "iterations": 10,
    "gaussian": {"sxy": 1, "weight": 3},
    "bilateral": {"sxy": 20, "srgb": 13, "weight": 4},
}
CLIP: dict[str, Any] = {"name": "ViT-B-32", "weights": "clip.safetensors"}
