"""Every method that there is keeps the contract of `pcc.methods.base.Method`."""

import copy
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_clip import write_towers

from pcc import methods
from pcc.methods.base import Method
from pcc.methods.loading import load_method
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

ROOT = Path(__file__).resolve().parents[2]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())["methods"]
SMALL = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}
CAM = {"type": "cam", "clusters": [], "model": {"backbone": SMALL}}
CASES: dict[str, dict[str, Any]] = {
    "cam": DEMO["cam"]["model"],
    "pcc": DEMO["pcc"]["model"],
    "semples": {"generator": CAM, "clip": {"name": "", "weights": "random"}, "prompt_length": 3},
    "sipe": {"backbone": SMALL, "side_channels": [4, 4, 8, 8]},
    "weaktr": {"backbone": {"name": "test_vit"}},
}
PHASES = {"semples": ("match", "prompts", "refine")}  # other methods train in phases of any name


def defines_a_method(name: str) -> bool:
    module = import_module(f"{methods.__name__}.{name}")
    classes = (part for _, part in inspect.getmembers(module, inspect.isclass))
    return any(
        issubclass(part, Method) and part.__module__ == module.__name__ and not inspect.isabstract(part)
        for part in classes
    )


METHODS = [module.name for module in pkgutil.iter_modules(methods.__path__) if defines_a_method(module.name)]


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_towers(tmp_path_factory.mktemp("clip"))


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def phases(name: str) -> tuple[str, ...]:
    return PHASES.get(name, ("warmup", "train"))


@pytest.fixture
def method(name: str, towers: str) -> Method:
    assert name in CASES, f"a new method: give {name} a case here"
    settings = copy.deepcopy(CASES[name])
    if "clip" in settings:
        settings["clip"]["name"] = towers
    torch.manual_seed(0)
    return load_method(name, list("abcd"), [[0, 1], [2, 3]] if name == "pcc" else [], settings)


def test_maps_are_scores_of_background_and_present_classes(method: Method) -> None:
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    images = torch.rand(2, 3, 64, 64)
    maps = method.eval().localize(images, labels)
    assert maps.shape[:2] == (2, 5)
    assert maps.shape[2:] == method.encode(images).shape[2:]
    assert maps.min() >= 0
    assert maps.max() <= 1 + 1e-6
    assert maps[0, 2].abs().max() == 0, "an absent class is exactly zero"


def test_every_phase_trains_parameters_of_its_own_model(method: Method, phases: tuple[str, ...]) -> None:
    own = {id(p) for p in method.parameters()}
    for phase in phases:
        trained = [p for group in method.parameter_groups(phase) for p in group.parameters]
        assert trained
        assert {id(p) for p in trained} <= own
        assert len({id(p) for p in trained}) == len(trained), "no parameter twice"


def test_losses_are_finite_scalars_with_gradient(method: Method, phases: tuple[str, ...]) -> None:
    batch = Batch(torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0]]))
    for phase in phases:
        losses = method.train().losses(batch, phase)
        assert losses
        for loss in losses.values():
            assert loss.shape == ()
            assert torch.isfinite(loss)
            assert loss.requires_grad


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"no type 'ppc'; allowed: {', '.join(METHODS)}$"):
        load_method("ppc", ["a"], [], {})
