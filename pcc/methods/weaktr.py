"""WeakTr: CAMs of a ViT, refined by the attention of its class tokens (Zhu et al., 2023; semples.md §1)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from pcc.methods.base import Method
from pcc.models.attention_gate import AttentionGate, weighted_mean
from pcc.models.backbones import Attended, Backbone, BackboneSettings
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import Factor, limits
from pcc.trainable import Batch, ParameterGroup


class WeakTr(Method):
    """One token per class; attention maps are averaged over all heads with learned weights.

    The coarse map is a 3 x 3 convolution of the patches. Multiplied by the attention of the class token and propagated
    by the patch-to-patch attention, it becomes the fine map. The tokens start as copies of the network's own class
    token, and the loss of the fine maps trains the gate alone. Unlike WeakTr, the network keeps its own class token,
    and logits are pooled before rectification, so that they can be negative. SemPLeS fine-tunes the convolution and
    the gate (`map_parameters`).

    Args:
        classes: names of the K foreground classes.
        clusters: not used.
        backbone: settings of `Backbone`, a plain ViT; published: ``deit_small_patch16_224``.
        backbone_lr: learning rate of the backbone, relative to the heads.
        reduction: reduction ratio of the attention gate's MLP.
        pooling: pooling over tokens in the attention gate.

    Raises:
        InputError: the backbone is not a plain ViT.
    """

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: BackboneSettings,
        backbone_lr: Factor = 1.0,
        reduction: Annotated[int, limits(ge=1, le=1024)] = 8,
        pooling: Literal["max", "average"] = "max",
    ) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        if not isinstance(self.backbone.network, VisionTransformer):
            raise InputError(f"model.backbone: {backbone['name']} must be a plain ViT; WeakTr uses its attention")
        self.backbone_lr = backbone_lr
        dim, blocks = self.backbone.dim, cast(Any, self.backbone.network).blocks
        token = self.backbone.class_token()
        self.class_tokens = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(len(classes), dim), std=0.02)
            if token is None
            else token.repeat(len(classes), 1)
        )
        self.classifier = nn.Conv2d(dim, len(classes), 3, padding=1)
        heads = sum(block.attn.num_heads for block in blocks)
        self.gate = AttentionGate(heads, dim // blocks[0].attn.num_heads, reduction=reduction, pooling=pooling)

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        return [
            ParameterGroup([self.class_tokens, *self.map_parameters()]),
            ParameterGroup(list(self.backbone.parameters()), self.backbone_lr),
        ]

    def map_parameters(self) -> list[nn.Parameter]:
        """The convolution and the gate."""
        return [*self.classifier.parameters(), *self.gate.parameters()]

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Multi-label soft margin loss of class tokens, coarse maps and fine maps; the last trains the gate alone."""
        assert batch.images is not None, "the encoder is not frozen"
        seen = self._attend(batch.images)
        coarse = self.classifier(seen.grid)
        fixed = Attended(*(part.detach() for part in seen))
        logits = {
            "tokens": seen.tokens.mean(dim=2),
            "coarse": coarse.mean(dim=(2, 3)),
            "fine": self._fine(coarse.detach(), fixed).mean(dim=(2, 3)),
        }
        return {name: functional.multilabel_soft_margin_loss(z.float(), batch.labels) for name, z in logits.items()}

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self._attend(images).grid

    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B D h w"]]:
        """Fine maps and patch features."""
        seen = self._attend(images)
        return self._fine(functional.relu(self.classifier(seen.grid)), seen), seen.grid

    def _attend(self, images: Float[Tensor, "B 3 H W"]) -> Attended:
        return self.backbone.forward_with_attention(images, self.class_tokens.expand(len(images), -1, -1))

    def _fine(self, coarse: Float[Tensor, "B K h w"], seen: Attended) -> Float[Tensor, "B K h w"]:
        """``P (Q * A)``: token-to-patch attention Q, coarse map A, patch-to-patch attention P."""
        weights = self.gate(seen.outputs)
        own = weighted_mean(seen.token_to_patch, weights) * coarse.flatten(2)
        spread = weighted_mean(seen.patch_to_patch, weights)
        return (own @ spread.transpose(1, 2)).unflatten(2, coarse.shape[2:])
