"""Class activation maps (CAM; Zhou et al., CVPR 2016): the usual weakly supervised baseline."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.methods.base import Method
from pcc.models.backbones import Backbone, BackboneSettings
from pcc.runtime.errors import call_with
from pcc.runtime.settings import Blocks, Factor
from pcc.trainable import Batch, ParameterGroup


class PlainCAM(Method):
    """Global average pooling and a linear classifier, whose weights applied to each cell give the CAM.

    Args:
        classes: names of the K foreground classes.
        clusters: not used.
        backbone: settings of `Backbone`.
        unfrozen_blocks: number of trained blocks at the end of the backbone, or ``all``.
        backbone_lr: learning rate of these blocks, relative to the classifier.
    """

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: BackboneSettings,
        unfrozen_blocks: Blocks | Literal["all"] = "all",
        backbone_lr: Factor = 1.0,
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
        logits = self.classifier(features).mean(dim=(2, 3))
        return {"classification": functional.binary_cross_entropy_with_logits(logits, batch.labels)}

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self.backbone(images)

    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B D h w"]]:
        features = self.encode(images)
        return self.classifier(features), features
