"""Maps from Python, as the workflow extracts them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pcc.artifacts.maps import read_maps
from pcc.data.manifest import Manifest
from pcc.deployment import Localizer
from pcc.runtime.errors import InputError
from pcc.stages.localize import localize


@pytest.mark.parametrize("resize", ["square", "keep"])
def test_the_workflow_extracts_what_python_does(
    example_models: dict[str, Path], tiny_manifest: Any, tmp_path: Path, resize: Any
) -> None:
    manifest, classifier = tiny_manifest(), example_models["classifier"]
    views: dict[str, Any] = {"image_size": 48, "resize": resize, "scales": [1.0, 1.5]}
    localize(manifest, classifier, tmp_path / "000.safetensors", shard="000", type="cam", **views)
    localizer, stored = Localizer.load(classifier, **views), dict(read_maps(tmp_path / "000.safetensors"))
    for record in Manifest.read(manifest).select("train"):
        maps, other = localizer(record.image, record.labels), stored[record.image_id]
        assert (maps.classes, maps.size) == (other.classes, other.size)
        torch.testing.assert_close(maps.values, other.values, atol=2e-3, rtol=0)


def test_it_sees_images_as_the_classifier_was_trained_unless_told(example_models: dict[str, Path]) -> None:
    classifier = example_models["classifier"]
    assert Localizer.load(classifier).input_size((30, 50)) == (64, 64)
    assert Localizer.load(classifier, image_size=None, resize="keep").input_size((30, 50)) == (30, 50)


def test_a_class_it_does_not_know_is_one_line(example_models: dict[str, Path], tiny_manifest: Any) -> None:
    image = Manifest.read(tiny_manifest()).records[0].image
    with pytest.raises(InputError, match="unknown class 'cow'; the classifier knows cat, dog, boat"):
        Localizer.load(example_models["classifier"])(image, ["cow"])


def test_a_folder_without_a_classifier_or_its_provenance_is_one_line(
    example_models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no trained network"):
        Localizer.load(tmp_path)
    copy = tmp_path / "classifier"
    shutil.copytree(example_models["classifier"], copy)
    (copy / "provenance.json").unlink()
    with pytest.raises(InputError, match=r"provenance.json: not found, .*; set image_size"):
        Localizer.load(copy)
    assert Localizer.load(copy, image_size=32).input_size((9, 9)) == (32, 32)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"settings": 3}', '{"settings": {"training": {"image_size": "x"}}}']
)
def test_a_damaged_provenance_is_one_line(example_models: dict[str, Path], tmp_path: Path, content: str) -> None:
    shutil.copytree(example_models["classifier"], tmp_path / "classifier")
    (tmp_path / "classifier/provenance.json").write_text(content)
    with pytest.raises(InputError, match=r"provenance\.json: .*rerun train") as caught:
        Localizer.load(tmp_path / "classifier")
    assert len(caught.value.problems) == 1
