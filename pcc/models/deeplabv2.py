"""DeepLabV2: a dilated ResNet and the sum of four atrous classifiers (Chen et al., TPAMI 2018; sipe.md §8)."""

from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.models.backbones import Backbone, BackboneSettings
from pcc.models.segmenter import Segmenter, cross_entropy_on_grid
from pcc.runtime.errors import call_with
from pcc.runtime.settings import Scale, limits
from pcc.trainable import Batch, ParameterGroup

Dilation = Annotated[int, limits("cells", ge=1, le=256)]


class DeepLabV2(Segmenter):
    """DeepLabV2 on any timm CNN with ``output_stride``.

    Unlike the original in Caffe, timm's ResNets stride in the 3×3 convolution and do not round up in max-pooling.

    Args:
        num_classes: background included.
        backbone: settings of `Backbone`; ``output_stride`` defaults to 8.
        rates: dilations of the four classifiers.
        loss_scales: input scales of further loss terms, besides scale 1 and the maximum over scales.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: BackboneSettings,
        rates: Annotated[Sequence[Dilation], limits(min_length=1, max_length=16)] = (6, 12, 18, 24),
        loss_scales: Annotated[Sequence[Scale], limits(max_length=16)] = (0.75, 0.5),
    ) -> None:
        super().__init__()
        settings = {"output_stride": 8, **(backbone.get("settings") or {})}
        self.backbone = call_with(Backbone, {**backbone, "settings": settings}, "model.backbone")
        self.loss_scales = tuple(loss_scales)
        self.classifiers = nn.ModuleList(_classifier(self.backbone.dim, num_classes, rate) for rate in rates)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        features = self.backbone(images)
        return torch.stack([classifier(features) for classifier in self.classifiers]).sum(dim=0)

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Cross-entropy at each scale, and of the element-wise maximum over scales."""
        assert batch.images is not None and batch.masks is not None
        logits = {"1": self(batch.images)}
        for scale in self.loss_scales:
            logits[f"{scale:g}"] = self(functional.interpolate(batch.images, scale_factor=scale, mode="bilinear"))
        size = logits["1"].shape[-2:]
        full = [functional.interpolate(z, size, mode="bilinear", align_corners=False) for z in logits.values()]
        logits["max"] = torch.stack(full).amax(dim=0)
        return {f"cross_entropy_{name}": cross_entropy_on_grid(z, batch.masks) for name, z in logits.items()}

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """Backbone without batch norms ×1, classifier weights ×10, classifier biases ×20 without decay."""
        frozen = {id(p) for norm in self._batch_norms() for p in norm.parameters()}
        classifiers = dict(self.classifiers.named_parameters())
        weights, biases = ([p for n, p in classifiers.items() if n.endswith(kind)] for kind in ("weight", "bias"))
        return [
            ParameterGroup([p for p in self.backbone.parameters() if id(p) not in frozen]),
            ParameterGroup(weights, lr_scale=10.0),
            ParameterGroup(biases, lr_scale=20.0, weight_decay=0.0),
        ]

    def train(self, mode: bool = True) -> "DeepLabV2":
        """Batch norms are frozen, as published: statistics here, scales and shifts by `parameter_groups`."""
        super().train(mode)
        for norm in self._batch_norms():
            norm.eval()
        return self

    def _batch_norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.backbone.modules() if isinstance(module, nn.BatchNorm2d)]


def _classifier(dim: int, num_classes: int, rate: int) -> nn.Conv2d:
    convolution = nn.Conv2d(dim, num_classes, 3, padding=rate, dilation=rate)
    nn.init.normal_(convolution.weight, std=0.01)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
