"""SIPE: self-supervised image-specific prototype exploration (Chen et al., CVPR 2022, arXiv 2203.02909; sipe.md)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import normalize_cams, with_background
from pcc.methods.base import Method
from pcc.models.backbones import Backbone, BackboneSettings, concatenate_levels
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import Channels, Factor, Weight, limits
from pcc.trainable import Batch, ParameterGroup

STAGES = 4
LAST_STAGES = 2  # layer3 and layer4 of a ResNet; what lies before them gets no gradient (sipe.md §1.4)


class SIPE(Method):
    """A CAM classifier trained to agree with the image-specific CAMs of its own prototypes.

    As published, the last two encoder stages are trained and batch norms are frozen, which needs pretrained weights.
    With random weights, use ``trained: all`` and begin with a phase ``warmup``: prototypes of untrained maps would
    stall the training.

    Args:
        classes: names of the K foreground classes.
        clusters: not used.
        backbone: settings of `Backbone`, a CNN with four stages; published: ``resnet50`` at
            ``output_stride`` 16 with ``dilate: false``.
        backbone_lr: learning rate of the encoder, relative to the classifier.
        trained: ``last_stages`` (published, for pretrained encoders), or ``all`` of the encoder with its batch norms.
        side_channels: width of the 1×1 convolution on each stage; their outputs form the hierarchical feature.
        consistency: weight of the general-specific consistency loss; 0 trains a plain CAM.
        background_from: classes that reduce the background: ``all``, as in the released code, where absent classes
            with a positive logit count too, or ``present``. With ``competitors: all``, `iscam` treats every class as
            present.
        background_discount: factor on the background's soft IoU in the seeds.
        query: features that seeds are computed from in training: the ``last`` stage, as in the released code, or the
            ``hierarchical`` feature, as at inference (pitfall P3).

    Raises:
        InputError: a backbone with fewer than four stages.
    """

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: BackboneSettings,
        backbone_lr: Factor = 0.1,
        trained: Literal["last_stages", "all"] = "last_stages",
        side_channels: Annotated[Sequence[Channels], limits(min_length=4, max_length=4)] = (128, 128, 256, 256),
        consistency: Weight = 1.0,
        background_from: Literal["all", "present"] = "all",
        background_discount: Factor = 0.5,
        query: Literal["last", "hierarchical"] = "last",
    ) -> None:
        super().__init__()
        if len(side_channels) != STAGES:
            raise InputError(
                f"model.side_channels: {len(side_channels)} values; give one for each of the {STAGES} stages"
            )
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        self.backbone_lr, self.trained, self.consistency = backbone_lr, trained, consistency
        self.background_from, self.background_discount = background_from, background_discount
        self.query = query
        widths = self.backbone.stage_widths[-STAGES:]
        if len(widths) < STAGES:
            raise InputError(f"model.backbone: {backbone['name']} has {len(widths)} stages; SIPE needs {STAGES}")
        self.side = nn.ModuleList(
            nn.Conv2d(width, out, 1, bias=False) for width, out in zip(widths, side_channels, strict=True)
        )
        self.classifier = nn.Conv2d(widths[-1], len(classes), 1, bias=False)

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """Classifier and side convolutions; the encoder's last two stages, or all of it."""
        agree = self.consistency and phase != "warmup"
        head = [*self.classifier.parameters(), *(self.side.parameters() if agree else ())]
        whole = self.trained == "all"
        encoder = list(self.backbone.parameters()) if whole else self.backbone.stage_parameters(LAST_STAGES)
        return [ParameterGroup(head), ParameterGroup(encoder, self.backbone_lr)]

    def map_parameters(self) -> list[nn.Parameter]:
        """The classifier; the side convolutions are behind `iscam`'s prototypes, not behind the maps."""
        return list(self.classifier.parameters())

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Sigmoid cross-entropy and, except in ``warmup``, the consistency loss (sipe.md §4)."""
        assert batch.images is not None, "the encoder is not frozen"
        taps = self.backbone.stages(batch.images, STAGES)
        logits = self.classifier(taps[-1])
        pooled = logits.mean(dim=(2, 3))
        losses = {"classification": functional.binary_cross_entropy_with_logits(pooled, batch.labels)}
        if self.consistency and phase != "warmup":
            # Cosine similarities need fp32.
            with torch.autocast(logits.device.type, enabled=False):
                taps = [tap.float() for tap in taps]
                valid = self._valid(batch, logits.shape[-2:])
                maps = self._maps(logits.float(), batch.labels) * valid
                features = self._hierarchical(taps)
                query = taps[-1] if self.query == "last" else features
                seeds = structure_seeds(query, maps, valid, self.background_discount)
                specific = image_specific_cams(features, prototypes(features, seeds))
                losses["consistency"] = self.consistency * consistency_loss(maps, specific)
        return losses

    def _valid(self, batch: Batch, size: Sequence[int]) -> Float[Tensor, "B C h w"]:
        """1 for present classes and background, on pixels of the image, not on padding."""
        present = functional.pad(batch.labels, (1, 0), value=1.0)[:, :, None, None]
        if batch.inside is None:
            return present.expand(-1, -1, *size)
        inside = functional.interpolate(batch.inside[:, None].float(), tuple(size), mode="nearest")
        return present * inside

    def _maps(self, logits: Float[Tensor, "B K h w"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Normalised CAMs with background (sipe.md §2)."""
        cams = normalize_cams(logits)
        if self.background_from == "present":
            cams = cams * labels[:, :, None, None]
        return with_background(cams)

    def _hierarchical(self, taps: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B D h w"]:
        """Side convolutions of all stages on the grid of the last; no gradient reaches the encoder."""
        sides = [convolution(tap.detach()) for convolution, tap in zip(self.side, taps, strict=True)]
        return concatenate_levels(sides, taps[-1].shape[-2:])

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """The hierarchical feature, used for prototypes."""
        return self._hierarchical(self.backbone.stages(images, STAGES))

    def raw_maps(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        """Class logits, without the hierarchical feature."""
        return self.classifier(self.backbone.stages(images, STAGES)[-1])

    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B D h w"]]:
        taps = self.backbone.stages(images, STAGES)
        return self.classifier(taps[-1]), self._hierarchical(taps)

    def to_maps(self, raw_maps: Float[Tensor, "B K h w"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """The classifier's maps: background as in training, absent classes zero."""
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None]
        return self._maps(raw_maps.float(), labels) * present

    def train(self, mode: bool = True) -> "SIPE":
        """Batch norms of a pretrained encoder keep their running statistics (sipe.md §1.2)."""
        super().train(mode)
        self.backbone.train(mode and self.trained == "all")
        return self


def consistency_loss(maps: Float[Tensor, "B C h w"], image_specific: Float[Tensor, "B C h w"]) -> Float[Tensor, ""]:
    """General-specific consistency (SIPE section 3.3): mean absolute difference over images, channels and cells.

    Gradients reach both arguments. Absent classes are zero in both and count in the mean.

    Args:
        maps: the classifier's maps with background, zero for absent classes and on padding.
        image_specific: un-normalised image-specific CAMs; each is scaled to a peak of 1 here.

    Examples:
        >>> maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> round(consistency_loss(maps, torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])).item(), 3)
        0.25
    """
    return (maps - normalize_cams(image_specific)).abs().mean()
