from typing import Any

import pytest
import torch

from pcc.methods.loading import load_method
from pcc.methods.pcc import PCC
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

VIT = {"name": "test_vit", "settings": {"img_size": 64}}
CNN = {"name": "test_resnet", "settings": {"output_stride": 8}}
CLUSTERS = [[0, 2], [1, 3]]
FUSIONS: list[dict[str, Any]] = [
    {"fusion": "classifier", "hv_bilstm": None},
    {"fusion": "classifier", "root": False},
    {"fusion": "classifier", "backbone": VIT},
    {"fusion": "sequence", "cluster_loss": 0.5},
    {"fusion": "sequence", "backbone": VIT, "token_weights": True},
    {"fusion": "attention", "cluster_loss": 0.5},
    {"fusion": "attention", "hv_bilstm": None, "backbone": VIT, "token_weights": True},
    {"fusion": "encoder", "backbone": VIT, "cluster_loss": 0.5},
    {"fusion": "encoder", "backbone": VIT, "hv_bilstm": None, "token_weights": True},
]
each_fusion = pytest.mark.parametrize("settings", FUSIONS, ids=str)


def build(clusters: list[list[int]] = CLUSTERS, **settings: Any) -> PCC:
    torch.manual_seed(0)
    defaults = {"backbone": CNN, "hv_bilstm": 8, "top_k": 2, "unfrozen_blocks": 1}
    method = load_method("pcc", list("abcd"), clusters, {**defaults, **settings})
    assert isinstance(method, PCC)
    return method


def batch(labels: list[list[float]] | None = None) -> Batch:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.tensor(labels or [[1.0, 0, 1, 0], [0, 1, 0, 0]]))


def trained(method: PCC, steps: int = 3, phase: str = "train") -> dict[str, torch.Tensor]:
    """Weights after a few steps, without dropout."""
    method.eval()
    optimizer = torch.optim.Adam([p for g in method.parameter_groups(phase) for p in g.parameters], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(method.losses(batch(), phase).values()).backward()
        optimizer.step()
    return {name: value.clone() for name, value in method.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@each_fusion
def test_two_partitions_of_equal_sizes_train_to_different_weights(settings: dict[str, Any]) -> None:
    one, other = (trained(build(clusters, **settings)) for clusters in (CLUSTERS, [[0, 1], [2, 3]]))
    assert not equal(one, other)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"]) or settings.get("cluster_loss")


@each_fusion
def test_order_of_clusters_and_members_changes_nothing(settings: dict[str, Any]) -> None:
    assert equal(trained(build([[0, 2], [1, 3]], **settings)), trained(build([[3, 1], [2, 0]], **settings)))


@each_fusion
def test_clusters_add_parameters_and_all_of_them_learn(settings: dict[str, Any]) -> None:
    method, none = build(**settings), build([], **settings)
    added = method.state_dict().keys() - none.state_dict().keys()
    assert added and not none.state_dict().keys() - method.state_dict().keys()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    after = trained(method)
    assert [name for name in sorted(added) if torch.equal(before[name], after[name])] == []
    probabilities = method.raw_maps(batch().images)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]))


def test_without_clusters_no_setting_adds_a_parameter() -> None:
    plain = build([]).state_dict().keys()
    for settings in ({"fusion": "sequence"}, {"fusion": "attention", "token_weights": True}, {"root": True}):
        assert build([], **settings).state_dict().keys() == plain


@pytest.mark.parametrize("settings", [{"fusion": "classifier"}, {"fusion": "attention", "cluster_loss": 0.5}], ids=str)
@pytest.mark.parametrize("backbone", [CNN, VIT], ids=["cnn", "vit"])
@pytest.mark.parametrize("hv_bilstm", [None, 8])
def test_new_clusters_give_the_maps_of_none_to_the_bit(settings: Any, backbone: Any, hv_bilstm: int | None) -> None:
    with_clusters, none = (build(c, **settings, backbone=backbone, hv_bilstm=hv_bilstm) for c in (CLUSTERS, []))
    images = batch().images
    assert torch.equal(with_clusters.eval().raw_maps(images), none.eval().raw_maps(images))


def test_shared_parts_fold_into_the_class_weights() -> None:
    method, plain = build(hv_bilstm=None), build([], hv_bilstm=None)
    state = trained(method)
    kept = {name: value for name, value in state.items() if name in plain.state_dict()}
    plain.load_state_dict({**kept, "classifier.weight": method.classifier.folded().detach()})
    images = batch().images
    assert torch.equal(method.raw_maps(images), plain.eval().raw_maps(images)), "folding is exact"
    # By the definition, z_k = (w_k + T_c(k) + T_root) x, class by class.
    weight, tokens, root = (state[f"classifier.{name}"] for name in ("weight", "tokens", "root"))
    features = method.encode(images)
    for class_id, cluster in ((1, 0), (2, 1), (3, 0), (4, 1)):
        expected = sum(torch.einsum("bdhw,d->bhw", features, v) for v in (weight[class_id], tokens[cluster], root[0]))
        torch.testing.assert_close(method.patch_logits(batch())[:, class_id], expected, rtol=1e-4, atol=1e-4)
    background = torch.einsum("bdhw,d->bhw", features, weight[0])
    torch.testing.assert_close(method.patch_logits(batch())[:, 0], background, rtol=1e-4, atol=1e-4)


def test_a_cluster_of_one_has_no_token_and_one_of_all_is_the_root() -> None:
    assert build([[0, 2, 1], [3]]).classifier.tokens.shape[0] == 1
    for root in (True, False):
        alone = build([[0, 1, 2, 3]], root=root).classifier
        assert alone.tokens is None and alone.root is not None
    assert build([[0], [1], [2], [3]]).classifier.root is not None


def test_tokens_rest_in_the_average_warm_up() -> None:
    for settings in ({"fusion": "attention", "cluster_loss": 0.5}, {"fusion": "sequence", "token_weights": True}):
        method = build(**settings, warmup_pooling="average")
        assert method.losses(batch(), "warmup").keys() == {"classification"}
        before = {n: v.clone() for n, v in method.state_dict().items() if "token" in n or "root" in n}
        after = trained(method, phase="warmup")
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert changed == (["classifier.root"] if settings.get("token_weights") else [])


def test_what_clusters_add_has_its_own_learning_rate() -> None:
    for settings, expected in (
        ({"fusion": "attention", "cluster_loss": 0.5}, 0.03),
        ({"fusion": "classifier"}, 1.0),
        ({"fusion": "classifier", "token_lr": 0.5}, 0.5),
    ):
        method = build(**settings)
        added = set(map(id, method._added_parameters()))
        rates = {g.lr_scale for g in method.parameter_groups("train") if added & set(map(id, g.parameters))}
        assert rates == {expected}
        assert added == {id(p) for g in method.parameter_groups("train") for p in g.parameters if id(p) in added}


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
    losses = method.losses(batch([[0.0] * 4, [0.0] * 4]), "train")
    assert all(torch.isfinite(value) for value in losses.values())
    maps = method.eval().localize(batch().images, torch.zeros(2, 4))
    torch.testing.assert_close(maps[:, 0], torch.ones_like(maps[:, 0]))
    assert maps[:, 1:].abs().max() == 0


def test_frozen_encoder_is_told_truly() -> None:
    assert build().is_encoder_frozen("warmup")
    assert not build().is_encoder_frozen("train")
    assert build(unfrozen_blocks=0).is_encoder_frozen("train")
    assert not build(backbone=VIT, fusion="encoder", token_weights=True).is_encoder_frozen("warmup")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "encoder"}, "encoder needs a ViT"),
        ({"fusion": "sequence", "hv_bilstm": None}, "sequence needs the HV-BiLSTM"),
        ({"fusion": "sum"}, "model.fusion: 'sum' is not allowed; one of classifier, sequence, encoder, attention"),
        (
            {"fusion": "attention"},
            "clusters: no effect, fusion: attention uses only their number; set model.token_weights",
        ),
        (
            {"fusion": "classifier", "cluster_loss": 0.1},
            "model.cluster_loss: fusion: classifier has no tokens to refine",
        ),
        ({"token_weights": True}, "model.token_weights: fusion: classifier has no tokens to refine"),
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


def test_clusters_of_one_without_a_root_are_refused() -> None:
    with pytest.raises(InputError, match="no effect, each has one member; set"):
        build([[0], [1], [2], [3]], root=False)


def test_clusters_for_a_method_that_does_not_use_them_are_refused() -> None:
    with pytest.raises(InputError, match="clusters: no effect on cam; use `clusters: none`"):
        load_method("cam", list("abcd"), CLUSTERS, {"backbone": CNN})
