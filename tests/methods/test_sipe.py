import copy
from typing import Any

import pytest
import torch

from pcc.localizations.iscam import Localization
from pcc.maps import normalize_cams, with_background
from pcc.methods.sipe import SIPE, consistency_loss
from pcc.models.backbones import Backbone
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

RESNET = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}


def sipe(**settings: Any) -> SIPE:
    torch.manual_seed(0)
    return SIPE(list("abc"), [], **{"backbone": RESNET, "side_channels": (4, 4, 8, 8), **settings})


def batch(**changes: Any) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 1], [0, 1, 0]]))._replace(**changes)


def test_golden_loss():
    """SIPE's worked example, from logits to loss."""
    logits = torch.tensor([[2, 1, 0.2, 0], [-1, 0, 0.5, 1]], dtype=torch.float64).reshape(1, 2, 2, 2)
    query = torch.tensor([[1, 1, 0.6, 0], [0, 0, 0.8, 1]], dtype=torch.float64).reshape(1, 2, 2, 2)
    features = torch.tensor([[1, 0.9, 0.5, 0], [0, 0.1, 0.8, 1], [0.5, 0.5, 0.2, 0.1]], dtype=torch.float64)
    features = features.reshape(1, 3, 2, 2)
    maps = with_background(normalize_cams(logits))
    seeds = structure_seeds(query, maps, torch.ones_like(maps))
    loss = consistency_loss(maps, image_specific_cams(features, prototypes(features, seeds)))
    assert loss.item() == pytest.approx(0.2764, abs=5e-5)


def test_absent_classes_shrink_the_mean():
    maps, specific = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    empty = torch.zeros(2, 3, 4, 4)
    alone = consistency_loss(maps, specific)
    padded = consistency_loss(torch.cat([maps, empty], 1), torch.cat([specific, empty], 1))
    torch.testing.assert_close(padded, alone / 2)


def test_scale_of_the_image_specific_maps_does_not_matter():
    maps, specific = torch.rand(1, 2, 4, 4, dtype=torch.float64), torch.rand(1, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(
        consistency_loss(maps, 50 * specific), consistency_loss(maps, 5 * specific), rtol=0, atol=1e-5
    )


def test_gradient_reaches_both_sides():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(1, 2, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    specific = (torch.rand(1, 2, 2, 3, dtype=torch.float64, generator=generator) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(consistency_loss, (maps, specific))
    consistency_loss(maps, specific).backward()
    assert maps.grad.abs().sum() > 0
    assert specific.grad.abs().sum() > 0


def test_only_the_last_two_stages_and_the_heads_are_trained() -> None:
    """Gradient stop after layer2 (§1.4); side convolutions learn by the consistency alone, on stopped inputs (§1.6)."""
    method = sipe().train()
    trained = [p for group in method.parameter_groups("main") for p in group.parameters]
    for parameter in method.parameters():
        parameter.requires_grad_(any(parameter is p for p in trained))
    losses = method.losses(batch(), "main")
    names = {name for name, p in method.named_parameters() if p.requires_grad}
    stages = {name.split(".")[2] for name in names if name.startswith("backbone")}
    assert stages == {"layer3", "layer4"}
    losses["classification"].backward(retain_graph=True)
    assert all(p.grad is None for p in method.side.parameters())
    before = method.classifier.weight.grad.clone()
    losses["consistency"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.side.parameters())
    assert not torch.equal(before, method.classifier.weight.grad), "both sides of the loss have a gradient"
    assert {name for name, p in method.named_parameters() if p.grad is not None} == names


def test_without_consistency_it_is_a_plain_cam_classifier() -> None:
    method = sipe(consistency=0.0)
    assert list(method.losses(batch(), "main")) == ["classification"]
    assert not {id(p) for p in method.side.parameters()} & {
        id(p) for group in method.parameter_groups("main") for p in group.parameters
    }


def test_running_statistics_are_left_alone() -> None:
    method = sipe().train()
    before = copy.deepcopy(dict(method.named_buffers()))
    method.losses(batch(), "main")
    assert all(torch.equal(before[name], buffer) for name, buffer in method.named_buffers())


def test_an_encoder_from_random_weights_is_trained_whole_after_a_warm_up() -> None:
    method = sipe(trained="all")
    whole, heads = set(method.backbone.parameters()), set(method.classifier.parameters())
    for phase, also in (("warmup", set()), ("main", set(method.side.parameters()))):
        trained = {p for group in method.parameter_groups(phase) for p in group.parameters}
        assert trained == whole | heads | also
    assert set(method.losses(batch(), "warmup")) == {"classification"}
    assert set(method.losses(batch(), "main")) == {"classification", "consistency"}
    before = copy.deepcopy(dict(method.backbone.named_buffers()))
    method.train().losses(batch(), "warmup")
    assert any(not torch.equal(value, before[name]) for name, value in method.backbone.named_buffers())


def test_the_hierarchical_feature_is_four_unit_vectors_on_the_last_grid() -> None:
    features = sipe().encode(batch().images)
    assert features.shape == (2, 24, 4, 4)
    torch.testing.assert_close(features[:, 8:16].norm(dim=1), torch.ones(2, 4, 4), atol=1e-3, rtol=0)
    assert (features[:, :4].norm(dim=1) <= 1 + 1e-5).all(), "shorter where it was interpolated"


@pytest.mark.parametrize(
    "given",
    [
        batch(labels=torch.zeros(2, 3)),
        batch(labels=torch.ones(2, 3)),
        batch(images=torch.zeros(2, 3, 64, 64)),
        batch(images=torch.rand(2, 3, 9, 7)),
        batch(images=torch.rand(2, 3, 560, 40)),
        batch(inside=torch.zeros(2, 64, 64, dtype=torch.uint8)),
    ],
    ids=["no label", "all labels", "black", "smaller than the stride", "longer than 512", "all padding"],
)
@pytest.mark.parametrize("query", ["last", "hierarchical"])
def test_losses_and_gradients_are_finite(given: Batch, query: str) -> None:
    method = sipe(query=query).train()
    for weight in (method.classifier.weight, -method.classifier.weight.abs()):
        method.classifier.weight.data.copy_(weight)  # the second makes every CAM zero
        losses = method.losses(given, "main")
        sum(losses.values()).backward()
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
        maps = Localization(method, scales=(1.0, 0.5))(given.images, given.labels)
        assert torch.isfinite(maps).all() and maps.max() <= 1
        assert (maps[:, 1:][given.labels == 0] == 0).all()


def test_half_precision_trains_and_localizes() -> None:
    method, given = sipe().train(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        half = method.losses(given, "main")
        maps = Localization(method.eval())(given.images, given.labels)
    assert maps.dtype == torch.float32
    for name, loss in method.losses(given, "main").items():
        torch.testing.assert_close(half[name], loss, rtol=0.05, atol=0.01)
    half["consistency"].backward()


def test_padding_seeds_nothing_and_has_no_general_map() -> None:
    """The loss with padding equals the same arithmetic with maps and seeds cut off by hand."""
    method, given = sipe(), batch()
    inside = torch.ones(2, 64, 64, dtype=torch.uint8)
    inside[:, :, 32:] = 0
    padded = method.losses(given._replace(inside=inside), "main")["consistency"]
    taps = method.backbone.stages(given.images, 4)
    valid = torch.ones(2, 4, 4, 4) * torch.nn.functional.pad(given.labels, (1, 0), value=1)[:, :, None, None]
    valid[..., 2:] = 0
    maps = with_background(normalize_cams(method.classifier(taps[-1]))) * valid
    features = method.encode(given.images)
    seeds = structure_seeds(taps[-1], maps, valid)
    assert seeds[..., 2:].sum() == 0
    expected = consistency_loss(maps, image_specific_cams(features, prototypes(features, seeds)))
    torch.testing.assert_close(padded, expected)
    assert padded != method.losses(given, "main")["consistency"]


def test_absent_classes_may_or_may_not_eat_background() -> None:
    logits = torch.tensor([0.5, 2.0, -1.0])[None, :, None, None] * torch.ones(1, 3, 2, 2)
    labels = torch.tensor([[1.0, 0, 0]])
    assert sipe(background_from="all").to_maps(logits, labels)[0, 0].max() < 1e-4
    peaked = logits.clone()
    peaked[:, 0] = torch.tensor([[1.0, 0], [0, 0]])
    present = sipe(background_from="present").to_maps(peaked, labels)[0]
    torch.testing.assert_close(present[0], torch.tensor([[0.0, 1], [1, 1]]), atol=1e-4, rtol=0)


def test_strides_left_out_leave_kernels_as_they_were() -> None:
    dilated = Backbone("test_resnet", settings={"output_stride": 16})
    plain = Backbone(**RESNET)
    assert dilated.stride == plain.stride == 16
    kernels = [m for m in plain.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {m.dilation for m in kernels} == {(1, 1)}
    assert any(m.dilation != (1, 1) for m in dilated.modules() if isinstance(m, torch.nn.Conv2d))


def test_what_has_not_four_stages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="give one for each of the 4 stages"):
        sipe(side_channels=(8, 8))
    monkeypatch.setattr(Backbone, "stage_widths", [8, 16, 32])
    with pytest.raises(InputError, match="test_resnet has 3 stages; SIPE needs 4"):
        sipe()


def test_scales_have_prototypes_of_their_own() -> None:
    """IS-CAM over two scales is the normalised sum of both, each from its own maps and features."""
    method, given = sipe().eval(), batch()
    both = Localization(method, scales=(1.0, 0.5), flip=True, competitors="all")
    one, half = (Localization(method, scales=(s,), flip=True, competitors="all") for s in (1.0, 0.5))
    raw = [view._at_scale(view._scaled(given.images, s), given.labels) for view, s in ((one, 1.0), (half, 0.5))]
    larger = torch.nn.functional.interpolate(raw[1], raw[0].shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(both(given.images, given.labels), normalize_cams(raw[0] + larger))
