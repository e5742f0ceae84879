from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pcc.models.hv_bilstm import HVBiLSTM
from pcc.models.segmenter import build_segmenter, cross_entropy, cross_entropy_on_grid
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

SEGMENTERS: dict[str, dict[str, Any]] = {
    "light_head": {"backbone": {"name": "test_resnet"}, "width": 16, "unfrozen_blocks": "all"},
    "deeplabv2": {"backbone": {"name": "test_resnet"}},
    "smp": {"architecture": "fpn", "encoder": "resnet18"},
}


@pytest.mark.parametrize("type", sorted(SEGMENTERS))
def test_every_segmenter_learns_one_batch(type: str) -> None:
    torch.manual_seed(0)
    segmenter = build_segmenter(type, 3, SEGMENTERS[type]).train()
    groups = segmenter.parameter_groups("train")
    optimizer = torch.optim.Adam([{"params": g.parameters, "lr": 1e-3 * min(g.lr_scale, 5)} for g in groups])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[:, :, 32:] = 1
    masks[:, :8] = 255
    images = torch.rand(2, 3, 64, 64) * 0.2 + (masks == 1)[:, None] * 0.7
    losses = []
    for _ in range(12):
        loss = sum(segmenter.losses(Batch(images, torch.zeros(2, 2), masks), "train").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert segmenter.eval()(images).shape[:2] == (2, 3)


def test_deeplabv2_is_the_sum_of_its_classifiers_and_groups_as_published() -> None:
    torch.manual_seed(0)
    segmenter = build_segmenter("deeplabv2", 4, SEGMENTERS["deeplabv2"]).eval()
    images = torch.rand(1, 3, 64, 64)
    features = segmenter.backbone(images)
    assert segmenter.backbone.stride == 8
    expected = sum(
        functional.conv2d(features, c.weight, c.bias, padding=rate, dilation=rate)
        for c, rate in zip(segmenter.classifiers, (6, 12, 18, 24), strict=True)
    )
    torch.testing.assert_close(segmenter(images), expected)
    assert [g.lr_scale for g in segmenter.parameter_groups("train")] == [1, 10, 20]
    assert segmenter.parameter_groups("train")[2].weight_decay == 0
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    assert len(segmenter.losses(Batch(images, torch.zeros(1, 3), masks), "train")) == 4


def test_deeplabv2_trains_convolutions_and_no_batch_norm() -> None:
    segmenter = build_segmenter("deeplabv2", 4, {"backbone": {"name": "resnet18"}}).train()
    modules = dict(segmenter.named_modules())
    trained = {id(p) for group in segmenter.parameter_groups("train") for p in group.parameters}
    kinds = {
        (type(modules[name.rpartition(".")[0]]), id(parameter) in trained)
        for name, parameter in segmenter.named_parameters()
    }
    assert kinds == {(nn.Conv2d, True), (nn.BatchNorm2d, False)}
    assert not any(m.training for m in segmenter.modules() if isinstance(m, nn.BatchNorm2d))
    assert len(trained) == sum(isinstance(m, nn.Conv2d) for m in segmenter.modules()) + len(segmenter.classifiers)


def test_cross_entropy_ignores_255_and_survives_nothing_else() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    masks = torch.tensor([[[0, 255], [2, 1]]], dtype=torch.uint8)
    by_hand = -logits.log_softmax(1)[0, [0, 2, 1], [0, 1, 1], [0, 0, 1]].mean()
    torch.testing.assert_close(cross_entropy(logits, masks).double(), by_hand, atol=1e-6, rtol=0)
    torch.testing.assert_close(cross_entropy_on_grid(logits, masks).double(), by_hand, atol=1e-6, rtol=0)
    nothing = cross_entropy(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    nothing.backward()
    assert float(nothing) == 0


def test_hv_bilstm_equals_lstms_over_rows_and_columns_one_by_one() -> None:
    torch.manual_seed(0)
    network = HVBiLSTM(5, hidden=3, dropout=0.0).eval()
    grid, tokens = torch.rand(2, 5, 3, 4), torch.rand(2, 2, 5)
    refined, refined_tokens = network(grid, tokens)
    assert refined.shape == (2, 12, 3, 4)
    row = torch.cat([tokens[1], grid[1, :, 2].T, tokens[1]])
    column = torch.cat([tokens[1], grid[1, :, :, 3].T, tokens[1]])
    expected = torch.cat([network.rows(row[None])[0][0, 2 + 3], network.columns(column[None])[0][0, 2 + 2]])
    torch.testing.assert_close(refined[1, :, 2, 3], expected)
    rows = [network.rows(torch.cat([tokens[1], grid[1, :, i].T, tokens[1]])[None])[0][0] for i in range(3)]
    columns = [network.columns(torch.cat([tokens[1], grid[1, :, :, j].T, tokens[1]])[None])[0][0] for j in range(4)]
    ends = [torch.stack([(line[:2] + line[-2:]) / 2 for line in lines]).mean(0) for lines in (rows, columns)]
    torch.testing.assert_close(refined_tokens[1], torch.cat(ends, dim=1))


def test_both_directions_of_the_hv_bilstm_read_the_tokens() -> None:
    torch.manual_seed(0)
    network = HVBiLSTM(5, hidden=3, dropout=0.0).eval()
    grid, tokens = torch.rand(1, 5, 3, 4), torch.rand(1, 2, 5)
    changed = (network(grid, tokens)[0] - network(grid, 2 * tokens)[0]).abs().amin(dim=(0, 2, 3))
    assert (changed > 0).all(), "every channel of every cell, of the backward direction too"


@pytest.mark.parametrize(
    ("type", "model", "message"),
    [
        ("deeplab", {}, "no type 'deeplab'; allowed: deeplabv2, light_head, smp"),
        ("smp", {"architecture": "fnp", "encoder": "resnet18"}, "cannot build fnp with resnet18"),
        ("light_head", {"backbone": {"name": "test_vit"}, "widht": 3}, "unknown setting 'widht'"),
    ],
)
def test_bad_settings_are_one_clear_line(type: str, model: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_segmenter(type, 3, model)
    assert len(caught.value.problems) == 1
