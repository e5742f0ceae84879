"""SIPE: self-supervised image-specific prototype exploration (Chen et al., CVPR 2022, arXiv 2203.02909; sipe.md)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import normalize_cams, with_background
from pcc.methods.base import Method
from pcc.models.backbones import Backbone, concatenate_levels
from pcc.prototypes import image_specific_cams, prototypes, structure_seeds
from pcc.runtime.errors import InputError, call_with
from pcc.trainable import Batch, ParameterGroup

STAGES = 4
LAST_STAGES = 2  # layer3 and layer4 of a ResNet; what lies before them gets no gradient (sipe.md §1.4)


class SIPE(Method):
    """A CAM classifier that is trained to agree with the image-specific CAMs of its own prototypes.

    Of the encoder the last two stages are trained, and batch norms keep their running statistics: both rest on what a
    pretrained network knows. One that begins with random weights wants ``trained: all`` and a phase ``warmup`` before
    any other, as prototypes of its first maps would hold it there.

    Args:
        classes: names of the K foreground classes.
        clusters: not used; every method is handed them.
        backbone: settings of `Backbone`: a CNN of four stages; for the published network ``resnet50`` at
            ``output_stride`` 16 with ``dilate: false``.
        backbone_lr: learning rate of the encoder, as a share of the classifier's.
        trained: ``last_stages``, as published, for a pretrained encoder; ``all`` of it, batch norms too, for one that
            begins with random weights.
        side_channels: width of the 1×1 convolution on each stage, whose outputs make the hierarchical feature.
        consistency: weight of the general-specific consistency; 0 trains a plain CAM (and leaves the side convolutions
            as they were drawn).
        background_from: whose maps take area from the background: ``all`` classes, as in the released code, where an
            absent class with any positive logit eats background, or the ``present`` ones.
            (For `iscam` with ``competitors: all`` every class counts as present.)
        background_discount: factor on the background's soft IoU when cells are given to classes.
        query: features that cells are compared by in training: the ``last`` stage, as in the released code, or the
            ``hierarchical`` feature, as at inference (pitfall P3: with ``last``, training and inference differ).

    Raises:
        InputError: a backbone without four stages.
    """

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        backbone: dict[str, Any],
        backbone_lr: float = 0.1,
        trained: Literal["last_stages", "all"] = "last_stages",
        side_channels: Sequence[int] = (128, 128, 256, 256),
        consistency: float = 1.0,
        background_from: Literal["all", "present"] = "all",
        background_discount: float = 0.5,
        query: Literal["last", "hierarchical"] = "last",
    ) -> None:
        super().__init__()
        if len(side_channels) != STAGES:
            raise InputError(
                f"model.side_channels: {len(side_channels)} numbers; give one for each of the {STAGES} stages"
            )
        self.backbone = call_with(Backbone, backbone, "model.backbone")
        self.backbone_lr, self.trained, self.consistency = backbone_lr, trained, consistency
        self.background_from, self.background_discount = background_from, background_discount
        self.query = query
        widths = self.backbone.stage_widths[-STAGES:]
        if len(widths) < STAGES:
            raise InputError(
                f"model.backbone: {backbone['name']} has {len(widths)} stages; SIPE needs {STAGES}"
            )
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
        """Sigmoid cross-entropy, and the consistency of both kinds of maps (sipe.md §4) but in ``warmup``."""
        assert batch.images is not None, "the encoder is trained: there are no features to reuse"
        taps = self.backbone.stages(batch.images, STAGES)
        logits = self.classifier(taps[-1])
        scores = logits.mean(dim=(2, 3))
        losses = {"classification": functional.binary_cross_entropy_with_logits(scores, batch.labels)}
        if self.consistency and phase != "warmup":
            # Cosines and their prototypes lose too much in half precision.
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
        """1 where a class may be: present classes and background, on pixels of the image and not its padding."""
        present = functional.pad(batch.labels, (1, 0), value=1.0)[:, :, None, None]
        if batch.inside is None:
            return present.expand(-1, -1, *size)
        inside = functional.interpolate(batch.inside[:, None].float(), tuple(size), mode="nearest")
        return present * inside

    def _maps(
        self, logits: Float[Tensor, "B K h w"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Normalised maps of all classes behind the background (sipe.md §2)."""
        cams = normalize_cams(logits)
        if self.background_from == "present":
            cams = cams * labels[:, :, None, None]
        return with_background(cams)

    def _hierarchical(self, taps: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B D h w"]:
        """Side convolutions of all stages on the last one's grid; no gradient reaches the encoder."""
        sides = [convolution(tap.detach()) for convolution, tap in zip(self.side, taps, strict=True)]
        return concatenate_levels(sides, taps[-1].shape[-2:])

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """The hierarchical feature, which prototypes are made of."""
        return self._hierarchical(self.backbone.stages(images, STAGES))

    def is_encoder_frozen(self, phase: str) -> bool:
        return False

    def activations(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        """Class logits of every cell."""
        return self.classifier(self.backbone.stages(images, STAGES)[-1])

    def view(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B D h w"]]:
        taps = self.backbone.stages(images, STAGES)
        return self.classifier(taps[-1]), self._hierarchical(taps)

    def to_maps(
        self, activations: Float[Tensor, "B K h w"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """The general maps: background as in training, absent classes zero."""
        present = functional.pad(labels, (1, 0), value=1.0)[:, :, None, None]
        return self._maps(activations.float(), labels) * present

    def train(self, mode: bool = True) -> "SIPE":
        """Batch norms keep a pretrained encoder's running statistics (sipe.md §1.2)."""
        super().train(mode)
        self.backbone.train(mode and self.trained == "all")
        return self


def consistency_loss(
    maps: Float[Tensor, "B C h w"], image_specific: Float[Tensor, "B C h w"]
) -> Float[Tensor, ""]:
    """General-specific consistency (SIPE section 3.3): mean absolute difference over images, channels, cells.

    The gradient reaches both sides. Absent classes are zero in both and count in the mean.

    Args:
        maps: the classifier's maps with background, zero where a class is absent or the image padded.
        image_specific: un-normalised image-specific CAMs; each is brought to a peak of 1 here.
    """
    return (maps - normalize_cams(image_specific)).abs().mean()
