"""Frozen parts cost no autograd: what runs before the first trained layer leaves no graph and keeps no activation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pcc.methods.loading import load_method
from pcc.models.boundary import BoundaryNetwork
from pcc.models.segmenter import build_segmenter
from pcc.trainable import Batch, Trainable
from pcc.training.loop import _train_only

CNN = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}
VIT = {"name": "test_vit"}
SIDE = {"backbone": CNN, "side_channels": [4, 4, 8, 8]}


def method(name: str, **model: Any) -> nn.Module:
    torch.manual_seed(0)
    return load_method(name, list("abcd"), [[0, 1], [2, 3]] if name == "pcc" else [], model)


CASES: dict[str, Any] = {
    "pcc, warm-up": (lambda: method("pcc", backbone=VIT, unfrozen_blocks=2), "warmup"),
    "pcc, last blocks": (lambda: method("pcc", backbone=VIT, unfrozen_blocks=2), "main"),
    "pcc, tokens in the encoder": (
        lambda: method("pcc", backbone=VIT, unfrozen_blocks=2, fusion="encoder", cluster_loss=1.0),
        "main",
    ),
    "pcc, a CNN": (lambda: method("pcc", backbone=CNN, unfrozen_blocks=1), "main"),
    "cam, frozen": (lambda: method("cam", backbone=CNN, unfrozen_blocks=0), "main"),
    "cam, last block": (lambda: method("cam", backbone=CNN, unfrozen_blocks=1), "main"),
    "sipe": (lambda: method("sipe", **SIDE), "main"),
    "light_head, frozen": (lambda: build_segmenter("light_head", 5, {"backbone": CNN, "width": 8}), "main"),
    "light_head, last block": (
        lambda: build_segmenter("light_head", 5, {"backbone": CNN, "width": 8, "unfrozen_blocks": 1}),
        "main",
    ),
    "boundary": (lambda: BoundaryNetwork(CNN, width=4, radius=3), "main"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_before_the_first_trained_layer_has_a_graph(case: str) -> None:
    make, phase = CASES[case]
    model = make()
    assert isinstance(model, Trainable)
    _train_only(model, model.parameter_groups(phase))
    ran: list[tuple[bool, bool]] = []  # whether a layer is trained, and whether its output has a graph

    def note(module: nn.Module, _given: Any, out: Any) -> None:
        trained = any(p.requires_grad for p in module.parameters())
        ran.append((trained, isinstance(out, Tensor) and out.requires_grad))

    network = model.backbone.network
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    images, labels = torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    losses = model.losses(Batch(images, labels, torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8)), phase)
    sum(losses.values()).backward()
    first = next((number for number, (trained, _) in enumerate(ran) if trained), len(ran))
    assert first > 0, "something is frozen"
    assert not any(graph for _, graph in ran[:first])
    trained = any(p.requires_grad for p in network.parameters())
    assert trained == any(graph for _, graph in ran), "and what is trained has one"
    assert all((p.grad is not None) <= p.requires_grad for p in model.parameters())
