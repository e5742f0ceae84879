from typing import Any

import pytest
import torch

from pcc.methods.loading import load_method
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

VIT = {"name": "test_vit", "settings": {"img_size": 64}}
CNN = {"name": "test_resnet", "settings": {"output_stride": 8}}
CLUSTERS = [[0, 2], [1]]


def build(clusters: list[list[int]] = CLUSTERS, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    defaults = {"backbone": CNN, "hv_bilstm": 8, "top_k": 2, "cluster_loss": 0.5, "unfrozen_blocks": 1}
    return load_method("pcc", list("abc"), clusters, {**defaults, **settings})


def batch(labels: list[list[float]] | None = None) -> Batch:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.tensor(labels or [[1.0, 0, 1], [0, 1, 0]]))


@pytest.mark.parametrize(
    "settings",
    [
        {"fusion": "sequence"},
        {"fusion": "sequence", "backbone": VIT},
        {"fusion": "attention"},
        {"fusion": "attention", "hv_bilstm": None, "backbone": VIT},
        {"fusion": "encoder", "backbone": VIT},
        {"fusion": "encoder", "backbone": VIT, "hv_bilstm": None},
    ],
    ids=str,
)
def test_every_fusion_trains_its_cluster_tokens(settings: dict[str, Any]) -> None:
    method = build(**settings).train()
    losses = method.losses(batch(), "train")
    assert set(losses) == {"classification", "clusters"}
    sum(losses.values()).backward()
    assert method.cluster_tokens.grad is not None
    assert method.cluster_tokens.grad.abs().sum() > 0
    probabilities = method.eval().raw_maps(batch().images)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]))


def test_without_clusters_no_cluster_parameter_exists() -> None:
    for fusion in ("sequence", "attention"):
        state = build([], fusion=fusion).state_dict()
        assert not [name for name in state if "cluster" in name or "attention" in name]


def test_cluster_order_only_permutes_tokens_and_member_order_changes_nothing() -> None:
    one, other, swapped = build([[0, 2], [1]]), build([[2, 0], [1]]), build([[1], [0, 2]])
    other.load_state_dict(one.state_dict())
    state = one.state_dict()
    state["cluster_tokens"] = state["cluster_tokens"].flip(0)
    swapped.load_state_dict(state)
    expected = {name: float(value) for name, value in one.eval().losses(batch(), "train").items()}
    assert {n: float(v) for n, v in other.eval().losses(batch(), "train").items()} == expected
    # The LSTM reads tokens in order, so only the attention fusion is exactly blind to it.
    one, swapped = build([[0, 2], [1]], fusion="attention"), build([[1], [0, 2]], fusion="attention")
    state = one.state_dict()
    state["cluster_tokens"] = state["cluster_tokens"].flip(0)
    swapped.load_state_dict(state)
    for name, value in one.eval().losses(batch(), "train").items():
        torch.testing.assert_close(swapped.eval().losses(batch(), "train")[name], value)


def test_warm_up_trains_the_head_and_later_phases_the_last_blocks() -> None:
    method = build(backbone=VIT, unfrozen_blocks=1)
    backbone = {id(p): name for name, p in method.backbone.network.named_parameters()}
    warm_up = {id(p) for group in method.parameter_groups("warmup") for p in group.parameters}
    assert not warm_up & backbone.keys()
    trained = {backbone[id(p)] for g in method.parameter_groups("train") for p in g.parameters if id(p) in backbone}
    last = len(method.backbone.network.blocks) - 1
    assert trained == {n for n in backbone.values() if n.startswith((f"blocks.{last}.", "norm."))}


def test_an_image_without_labels_is_all_background_and_never_nan() -> None:
    method = build()
    losses = method.losses(batch([[0.0, 0, 0], [0.0, 0, 0]]), "train")
    assert all(torch.isfinite(value) for value in losses.values())
    maps = method.eval().localize(batch().images, torch.zeros(2, 3))
    torch.testing.assert_close(maps[:, 0], torch.ones_like(maps[:, 0]))
    assert maps[:, 1:].abs().max() == 0


def test_frozen_encoder_is_told_truly() -> None:
    assert build().is_encoder_frozen("warmup")
    assert not build().is_encoder_frozen("train")
    assert build(unfrozen_blocks=0).is_encoder_frozen("train")
    assert not build(backbone=VIT, fusion="encoder").is_encoder_frozen("warmup")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "encoder"}, "encoder needs a ViT"),
        ({"fusion": "sequence", "hv_bilstm": None}, "sequence needs the HV-BiLSTM"),
        ({"fusion": "sum"}, "model.fusion: 'sum' is not allowed; one of sequence, encoder, attention"),
        ({"fuson": "sum"}, "unknown setting 'fuson'; allowed: backbone"),
        ({"backbone": {"name": "resnet18", "weights": "missing.safetensors"}}, "file missing.safetensors not found"),
        ({"backbone": {"name": "rasnet18"}}, "timm has no 'rasnet18'; similar: .*resnet18"),
        ({"backbone": {"name": "resnet18", "settings": {"nonsense": 1}}}, "invalid for resnet18"),
    ],
)
def test_bad_settings_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(**settings)
    assert len(caught.value.problems) == 1
