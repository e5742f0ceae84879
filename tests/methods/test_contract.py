"""Every method named in the configuration keeps the contract of `pcc.methods.base.Method`."""

from pathlib import Path

import pytest
import torch
import yaml

from pcc.methods.base import Method
from pcc.methods.loading import load_method
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
SMALL = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}
METHODS = CONFIG["methods"] | {
    "sipe": {"model": {"backbone": SMALL, "side_channels": [4, 4, 8, 8]}},
    "weaktr": {"model": {"backbone": {"name": "test_vit"}}},
}


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> Method:
    entry = METHODS[request.param]
    torch.manual_seed(0)
    return load_method(entry.get("type", request.param), list("abcd"), [[0, 1], [2, 3]], entry["model"])


def test_maps_are_scores_of_background_and_present_classes(method: Method) -> None:
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    images = torch.rand(2, 3, 64, 64)
    maps = method.eval().localize(images, labels)
    assert maps.shape[:2] == (2, 5)
    assert maps.shape[2:] == method.encode(images).shape[2:]
    assert maps.min() >= 0
    assert maps.max() <= 1 + 1e-6
    assert maps[0, 2].abs().max() == 0, "an absent class is exactly zero"


def test_every_phase_trains_parameters_of_its_own_model(method: Method) -> None:
    own = {id(p) for p in method.parameters()}
    for phase in ("warmup", "train"):
        trained = [p for group in method.parameter_groups(phase) for p in group.parameters]
        assert trained
        assert {id(p) for p in trained} <= own
        assert len({id(p) for p in trained}) == len(trained), "no parameter twice"


def test_losses_are_finite_scalars_with_gradient(method: Method) -> None:
    batch = Batch(torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0]]))
    for loss in method.train().losses(batch, "train").values():
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert loss.requires_grad


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="no type 'ppc'; allowed: cam, pcc, semples, sipe, weaktr"):
        load_method("ppc", ["a"], [], {})
