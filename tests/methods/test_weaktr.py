"""The attention-gated generator against its formulas written out (semples.md §1)."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from pcc.methods.weaktr import WeakTr
from pcc.models.attention_gate import AttentionGate, weighted_mean
from pcc.models.backbones import Backbone
from pcc.runtime.errors import InputError
from pcc.trainable import Batch

VIT = {"name": "test_vit"}
LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0]])


def weaktr(**settings: Any) -> WeakTr:
    torch.manual_seed(0)
    return WeakTr(list("abc"), [], **{"backbone": VIT, **settings}).eval()


def images() -> torch.Tensor:
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def test_attention_is_what_the_blocks_attended_with() -> None:
    """Rows are shares of one; the last block's output can be rebuilt from its attention."""
    backbone = Backbone(**VIT).eval()
    tokens = torch.rand(2, 3, backbone.dim)
    given: list[torch.Tensor] = []
    last = backbone.network.blocks[-1].attn
    hook = last.register_forward_pre_hook(lambda _m, args: given.append(args[0]))
    seen = backbone.forward_with_attention(images(), tokens)
    hook.remove()
    heads, depth, patches = last.num_heads, len(backbone.network.blocks), 3 * 4
    assert seen.patch_to_patch.shape == (2, heads * depth, patches, patches)
    assert seen.token_to_patch.shape == (2, heads * depth, 3, patches)
    assert seen.outputs.shape == (2, heads * depth, 1 + patches + 3, backbone.dim // heads)
    q, k, _ = last.qkv(given[0]).reshape(2, -1, 3, heads, last.head_dim).permute(2, 0, 3, 1, 4)
    attention = (q @ k.transpose(-2, -1) * last.scale).softmax(dim=-1)
    torch.testing.assert_close(seen.token_to_patch[:, -heads:], attention[:, :, -3:, 1:-3])
    torch.testing.assert_close(seen.patch_to_patch[:, -heads:], attention[:, :, 1:-3, 1:-3])
    output = last(given[0]).reshape(2, -1, heads, last.head_dim).transpose(1, 2)
    torch.testing.assert_close(seen.outputs[:, -heads:], output, atol=1e-5, rtol=1e-4)


def test_looking_changes_nothing() -> None:
    backbone = Backbone(**VIT).eval()
    tokens = torch.rand(2, 3, backbone.dim)
    grid, after = backbone.forward_with_tokens(images(), tokens, len(backbone.network.blocks))
    fused = [block.attn.fused_attn for block in backbone.network.blocks]
    seen = backbone.forward_with_attention(images(), tokens)
    torch.testing.assert_close(seen.grid, grid, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen.tokens, after, atol=1e-5, rtol=1e-4)
    assert [block.attn.fused_attn for block in backbone.network.blocks] == fused
    assert not any(block.attn._forward_hooks for block in backbone.network.blocks)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_the_gate_by_hand(pooling: Any) -> None:
    torch.manual_seed(0)
    gate, outputs = AttentionGate(16, 5, reduction=4, pooling=pooling), torch.rand(2, 16, 7, 5)
    found = gate(outputs)
    assert found.shape == (2, 16) and ((found > 0) & (found < 1)).all()
    pooled = outputs.max(dim=2).values if pooling == "max" else outputs.mean(dim=2)
    first, second = gate.number
    number = ((pooled @ first.weight.T + first.bias) @ second.weight.T + second.bias)[..., 0]
    narrow, wide = gate.together[0].weight, gate.together[2].weight
    assert narrow.shape == (4, 16) and gate.together[0].bias is None
    torch.testing.assert_close(found, torch.sigmoid(torch.relu(number @ narrow.T) @ wide.T))


def test_the_fine_map_pair_by_pair() -> None:
    method = weaktr()
    seen = method._attend(images())
    coarse = torch.relu(method.classifier(seen.grid))
    weights = method.gate(seen.outputs)
    q, p = weighted_mean(seen.token_to_patch, weights), weighted_mean(seen.patch_to_patch, weights)
    expected = torch.zeros(2, 3, 12)
    for n, k, i, j in torch.cartesian_prod(*(torch.arange(size) for size in (2, 3, 12, 12))).tolist():
        expected[n, k, i] += p[n, i, j] * q[n, k, j] * coarse[n, k].flatten()[j]
    torch.testing.assert_close(method.raw_maps(images()), expected.unflatten(2, (3, 4)))
    by_hand = sum(seen.token_to_patch[0, h] * weights[0, h] for h in range(weights.shape[1]))
    torch.testing.assert_close(q[0], by_hand / weights.shape[1])


def test_three_losses_and_what_they_train() -> None:
    method = weaktr().train()
    losses = method.losses(Batch(images(), LABELS), "main")
    assert list(losses) == ["tokens", "coarse", "fine"]
    scores = method._attend(images()).tokens.mean(dim=2)
    by_hand = functional.binary_cross_entropy_with_logits(scores, LABELS)  # soft margin, mean over the classes
    torch.testing.assert_close(losses["tokens"], by_hand)
    gate = {name for name, _ in method.named_parameters() if name.startswith("gate.")}
    assert trained_by(method, losses["fine"]) == gate
    by_others = trained_by(method, losses["tokens"] + losses["coarse"])
    assert {"class_tokens", "classifier.weight", "backbone.network.patch_embed.proj.weight"} <= by_others
    assert not gate & by_others


def trained_by(method: WeakTr, loss: torch.Tensor) -> set[str]:
    method.zero_grad()
    loss.backward(retain_graph=True)
    return {name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize(
    "name",
    [
        "test_vit",
        "deit3_small_patch16_224",  # no position embedding of the class token
        "vit_base_patch16_clip_224",  # a norm before the first block
        "vit_base_patch16_reg4_gap_256",  # no class token
    ],
)
def test_class_tokens_start_as_the_network_s_own(name: str) -> None:
    small = {"depth": 1, "embed_dim": 48, "num_heads": 3}
    method = weaktr(backbone={"name": name, "settings": small})
    given: list[torch.Tensor] = []
    method.backbone.network.blocks[0].register_forward_pre_hook(lambda _m, args: given.append(args[0].detach()))
    method.localize(images(), LABELS)
    own, added = given[0][:, :1], given[0][:, -3:]
    assert added.std() > 0
    if "gap" not in name:
        torch.testing.assert_close(added, own.expand(-1, 3, -1), rtol=0, atol=0)


def test_what_semples_trains_is_the_convolution_and_the_gate() -> None:
    """About 71,000 numbers at the published size."""
    method = WeakTr([str(k) for k in range(20)], [], {"name": "deit_small_patch16_224", "weights": "random"})
    assert sum(p.numel() for p in method.map_parameters()) == 9 * 384 * 20 + 20 + 64 * 8 + 8 + 8 + 1 + 2 * 72 * 9
    method.requires_grad_(False)
    for parameter in method.map_parameters():
        parameter.requires_grad_(True)
    maps = method.eval().localize(torch.rand(1, 3, 64, 64), torch.ones(1, 20))
    maps[:, 1:].sum().backward()
    assert all(p.grad is not None for p in method.map_parameters())
    assert all(p.grad is None for p in method.backbone.parameters())


def test_a_network_without_such_attention_is_refused() -> None:
    with pytest.raises(InputError, match="test_resnet must be a plain ViT"):
        weaktr(backbone={"name": "test_resnet"})
