"""A method that begins with another's trained network: what the stages hand over, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.maps import read_maps
from pcc.methods.loading import load_classifier
from pcc.models import clip
from pcc.runtime.errors import InputError
from pcc.stages.localize import localize
from pcc.stages.train import train

BACKBONE = {"name": "test_resnet", "settings": {"output_stride": 8}}
TOWERS = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
MakeManifest = Callable[..., Path]
Train = Callable[..., Path]


@pytest.fixture
def manifest(tiny_manifest: MakeManifest) -> Path:
    return tiny_manifest()


@pytest.fixture
def trained(manifest: Path, tmp_path: Path) -> Train:
    towers = tmp_path / "tiny-towers.json"
    towers.write_text(json.dumps(TOWERS))
    write_clusters(tmp_path / "none.json", [])
    models: dict[str, Any] = {
        "cam": {"backbone": BACKBONE, "unfrozen_blocks": 0},
        "semples": {"clip": {"name": str(towers), "weights": "random"}, "prompt_length": 2},
    }

    def run(name: str, type: str, *phases: str, **changes: Any) -> Path:
        settings = {
            "type": type,
            "model": models[type],
            "training": {
                "image_size": 32,
                "batch_size": 3,
                "phases": [{"name": phase, "epochs": 1, "lr": 0.01} for phase in phases],
            },
            **changes,
        }
        train(manifest, tmp_path / "none.json", tmp_path / name, **settings)
        return tmp_path / name

    return run


@pytest.mark.slow
def test_prompts_once_and_refining_twice(
    trained: Train, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = trained("cam", "cam", "main")
    start = load_classifier(generator)
    prompts = trained("prompts", "semples", "match", "prompts", after={"generator": generator})
    words = load_classifier(prompts).prompts
    after = {"generator": generator, "prompts": prompts}
    refined = trained("refined", "semples", "refine", after=after)
    inputs = json.loads((refined / "provenance.json").read_text())["inputs"]
    assert {str(generator / "weights.safetensors"), str(prompts / "weights.safetensors")} <= set(inputs)
    monkeypatch.setattr(clip, "_create", None)  # the maps need no judge any more
    method = load_classifier(refined)
    torch.testing.assert_close(method.prompts, words)
    for name, value in start.state_dict().items():  # all but the classifier, which refining trains
        if name != "classifier.weight":
            torch.testing.assert_close(method.generator.state_dict()[name], value, rtol=0, atol=0)
    maps = tmp_path / "maps.safetensors"
    localize(manifest, refined, maps, shard="000", type="iscam", image_size=32, batch_size=2)
    stored = dict(read_maps(maps))
    assert stored and all(torch.isfinite(found.values).all() for found in stored.values())


def test_what_cannot_begin_is_refused(trained: Train, tmp_path: Path) -> None:
    generator = trained("cam", "cam", "main")
    with pytest.raises(InputError, match=r"unknown setting .generator."):
        trained("other", "cam", "main", after={"generator": generator})
    with pytest.raises(InputError, match="name it with after"):
        trained("alone", "semples", "match")
    with pytest.raises(InputError, match="no trained network here"):
        trained("early", "semples", "match", after={"generator": tmp_path / "nowhere"})
    description = json.loads((generator / "model.json").read_text())
    (generator / "model.json").write_text(json.dumps({**description, "classes": ["a", "b", "c"]}))
    with pytest.raises(InputError, match="trained on other classes"):
        trained("strange", "semples", "match", after={"generator": generator})
    assert [path.parent.name for path in tmp_path.glob("*/losses.csv")] == ["cam"]


@pytest.mark.slow
def test_the_epoch_of_a_copy_can_be_chosen_by_masks(trained: Train) -> None:
    """Phases that select and that do not, in one run: as many epochs, and weights that another run begins with."""
    trained("cam", "cam", "main")
    phases = [
        {"name": "match", "epochs": 3, "lr": 0.01, "select": "masks"},
        {"name": "prompts", "epochs": 1, "lr": 0.01},
    ]
    training = {"image_size": 32, "batch_size": 3, "phases": phases}
    folder = trained("chosen", "semples", after={"generator": trained("cam", "cam", "main")}, training=training)
    rows = (folder / "losses.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows if row.startswith("match")} == {"0", "1", "2"}
    load_classifier(folder)
