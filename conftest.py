"""What examples in docstrings may use: a trained segmenter, a trained classifier, and an image in their folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, write_weights
from pcc.methods.loading import load_method
from pcc.models.segmenter import build_segmenter
from pcc.runtime.files import write_json

ROOT = Path(__file__).parent
pytest_plugins = ["tiny_results"]  # in tests/helpers
CLASSES = ("cat", "dog", "boat")
BACKBONE = {"name": "test_resnet", "weights": "random"}


@pytest.fixture(scope="session")
def example_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks with random weights, laid out as trained ones."""
    folder = tmp_path_factory.mktemp("examples")
    head = {"backbone": {**BACKBONE, "levels": [1, 2]}, "width": 8}
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "segmenter": (
            build_segmenter("light_head", len(CLASSES) + 1, head),
            {"type": "light_head", "model": head, "supervision": "labels"},
        ),
        "classifier": (
            load_method("cam", CLASSES, [], {"backbone": BACKBONE}),
            {"type": "cam", "clusters": [], "model": {"backbone": BACKBONE}},
        ),
    }
    for name, (network, description) in made.items():
        write_weights(folder / name / WEIGHTS, network.state_dict())
        write_json(folder / name / DESCRIPTION, {**description, "classes": list(CLASSES)})
        write_json(folder / name / "provenance.json", {"settings": {"training": {"image_size": 64}}})
    return {name: folder / name for name in made}


@pytest.fixture(autouse=True)
def _examples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        names = request.getfixturevalue("doctest_namespace")
        names |= {"np": np, "torch": torch, **request.getfixturevalue("example_models")}
        monkeypatch.chdir(tmp_path)
        Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save("cat.png")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Examples are looked for in the package; helpers of tests, and programs, are not imported for it."""
    is_test = collection_path.name.startswith(("test_", "conftest"))
    is_program = collection_path == ROOT / "pcc/__main__.py" or (
        ROOT / "tests" in collection_path.parents and not is_test
    )
    return True if collection_path.suffix == ".py" and is_program else None
