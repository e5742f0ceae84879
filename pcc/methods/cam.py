"""The plain class activation map (Zhou et al., CVPR 2016): what every paper compares with."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import normalize_cams, with_background
from pcc.methods.base import Method
from pcc.models.backbones import Backbone
from pcc.runtime.errors import call_with
from pcc.trainable import Batch, ParameterGroup


class PlainCAM(Method):
    """Global average pooling and a linear classifier; its weights applied to every cell are the map.

    Args:
        classes: names of the K foreground classes.
        clusters: not used; every method is handed them.
        backbone: settings of `Backbone`.
        unfrozen_blocks: blocks at the backbone's end that are trained, or ``all``.
        backbone_lr: learning rate of the unfrozen blocks, as a share of the classifier's.
    """

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: dict[str, Any],
        unfrozen_blocks: int | Literal["all"] = "all",
        backbone_lr: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        self.unfrozen_blocks, self.backbone_lr = unfrozen_blocks, backbone_lr
        self.classifier = nn.Conv2d(self.backbone.dim, len(classes), 1, bias=False)

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        return [
            ParameterGroup(list(self.classifier.parameters())),
            ParameterGroup(self.backbone.last_blocks(self.unfrozen_blocks), self.backbone_lr),
        ]

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        features = batch.features if batch.images is None else self.encode(batch.images)
        assert features is not None
        scores = self.classifier(features).mean(dim=(2, 3))
        return {"classification": functional.binary_cross_entropy_with_logits(scores, batch.labels)}

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self.backbone(images)

    def is_encoder_frozen(self, phase: str) -> bool:
        return self.unfrozen_blocks == 0

    def activations(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        """Class logits of every cell."""
        return self.view(images)[0]

    def view(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B D h w"]]:
        features = self.encode(images)
        return self.classifier(features), features

    def to_maps(
        self, activations: Float[Tensor, "B K h w"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Rectified, each present class to a peak of 1; background is what the present classes leave."""
        return with_background(normalize_cams(activations) * labels[:, :, None, None])

    def train(self, mode: bool = True) -> "PlainCAM":
        """A backbone trained in part keeps its running statistics."""
        super().train(mode)
        if self.unfrozen_blocks != "all":
            self.backbone.eval()
        return self
