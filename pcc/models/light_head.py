"""A small convolutional segmentation head, for CPUs and frozen backbones."""

from typing import Annotated, Literal

from jaxtyping import Float
from torch import Tensor, nn

from pcc.models.backbones import Backbone, BackboneSettings
from pcc.models.segmenter import Segmenter, cross_entropy
from pcc.runtime.errors import call_with
from pcc.runtime.settings import Blocks, Channels, Dropout, Factor, limits
from pcc.trainable import Batch, ParameterGroup


class LightHead(Segmenter):
    """Backbone features → 1×1 convolution → 3×3 convolutions → class logits.

    Args:
        num_classes: background included.
        backbone: settings of `Backbone`.
        unfrozen_blocks: number of trained blocks at the end of the backbone, or ``all``.
        width: channels of the head.
        depth: 3×3 convolutions in the head.
        dropout: channel dropout before the classifier.
        backbone_lr: learning rate of these blocks, relative to the head.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: BackboneSettings,
        unfrozen_blocks: Blocks | Literal["all"] = 0,
        width: Channels = 256,
        depth: Annotated[int, limits("layers", ge=0, le=64)] = 1,
        dropout: Dropout = 0.1,
        backbone_lr: Factor = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        self.multiple_of = self.backbone.multiple_of
        self.unfrozen_blocks, self.backbone_lr = unfrozen_blocks, backbone_lr
        layers: list[nn.Module] = [nn.Conv2d(self.backbone.dim, width, 1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        self.head = nn.Sequential(*layers, nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, 1))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        return self.head(self.backbone(images))

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        assert batch.masks is not None
        features = batch.features if batch.images is None else self.encode(batch.images)
        assert features is not None
        return {"cross_entropy": cross_entropy(self.head(features), batch.masks)}

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self.backbone(images)

    def is_encoder_frozen(self, phase: str) -> bool:
        return self.unfrozen_blocks == 0

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        return [
            ParameterGroup(list(self.head.parameters())),
            ParameterGroup(self.backbone.last_blocks(self.unfrozen_blocks), self.backbone_lr),
        ]

    def train(self, mode: bool = True) -> "LightHead":
        """A partly frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.unfrozen_blocks != "all":
            self.backbone.eval()
        return self
