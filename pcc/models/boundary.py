"""Class boundaries learned from labels that are sure in places (Ahn et al., CVPR 2019, IRN; sipe.md §7.2).

Two cells of the same class should have no boundary on the way between them, two of different classes one somewhere. The
displacement head of IRN is left out: it shares frozen weights alone with the boundaries, and serves instances only.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from pcc.ids import IGNORE
from pcc.models.backbones import Backbone
from pcc.refine.random_walk import STRIDE, half_plane_offsets, highest_on_path, shifted
from pcc.runtime.errors import call_with
from pcc.runtime.parallel import mean_over_processes
from pcc.trainable import Batch, ParameterGroup, Trainable

TAPS = 5
EPSILON = 1e-5


class BoundaryNetwork(Trainable):
    """A frozen CNN and a small head: the probability of a class boundary at every fourth pixel.

    Args:
        backbone: settings of `Backbone`; published: ``resnet50`` at ``output_stride`` 16 with ``dilate: false``.
        width: channels for each stage of the backbone, a multiple of 4.
        radius: pairs of cells nearer than this are compared in training, cells of four pixels.
    """

    def __init__(self, backbone: dict[str, Any], width: int = 32, radius: int = 10) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "boundary.model.backbone")
        self.radius = radius
        channels = self.backbone.stage_widths[-TAPS:]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1, bias=False), nn.GroupNorm(4, width))
            for count in channels
        )
        self.fuse = nn.Conv2d(width * len(channels), 1, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w"]:
        """Logits of a boundary, on a grid of stride 4 (sizes rounded up)."""
        size = [-(-side // STRIDE) for side in images.shape[-2:]]
        with torch.no_grad():
            taps = self.backbone.stages(images, len(self.heads))
            if hasattr(self.backbone.network, "maxpool"):  # a ResNet's stem ends with it; timm taps it before
                taps[0] = self.backbone.network.maxpool(taps[0])
        resized = [
            functional.relu(functional.interpolate(head(tap), size, mode="bilinear", align_corners=False))
            for head, tap in zip(self.heads, taps, strict=True)
        ]
        return self.fuse(torch.cat(resized, dim=1))[:, 0]

    @torch.no_grad()
    def predict(self, image: Float[Tensor, "3 H W"]) -> Float[Tensor, "h w"]:
        """Probability of a boundary, mean of the logits of the image and its mirror image (sipe.md §7.3).

        Each is padded at the right and at the bottom to what the backbone divides evenly, and cut off again before
        it is mirrored back; the reference pads to 512, which cuts larger images (pitfall P4).
        """
        height, width = (-(-side // STRIDE) for side in image.shape[-2:])
        whole = math.lcm(STRIDE, self.backbone.stride, self.backbone.multiple_of)
        padded = [-(-side // whole) * whole for side in image.shape[-2:]]
        both = self.backbone.mean.expand(2, 3, *padded).clone()  # zero, once normalised
        both[:, :, : image.shape[-2], : image.shape[-1]] = torch.stack([image, image.flip(-1)])
        seen, mirrored = self(both)[:, :height, :width].float()
        return ((seen + mirrored.flip(-1)) / 2).sigmoid()

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """`pair_loss` of the boundaries against masks in which 255 is unsure."""
        assert batch.images is not None and batch.masks is not None
        boundary = self(batch.images).float().sigmoid()
        labels = functional.interpolate(
            batch.masks[:, None].float(), boundary.shape[-2:], mode="nearest-exact"
        )
        return {"affinity": pair_loss(boundary, labels[:, 0].to(torch.uint8), self.radius)}

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """The head alone."""
        return [ParameterGroup([*self.heads.parameters(), *self.fuse.parameters()])]

    def train(self, mode: bool = True) -> "BoundaryNetwork":
        """The backbone is never trained."""
        super().train(mode)
        self.backbone.eval()
        return self


def pair_loss(
    boundary: Float[Tensor, "B h w"], labels: UInt8[Tensor, "B h w"], radius: int
) -> Float[Tensor, ""]:
    """Cross-entropy of the affinities of all pairs nearer than ``radius``, each kind of pair weighing the same.

    The affinity of two cells is 1 minus the highest boundary on the way between them. Pairs of background, pairs of one
    class, and pairs of two kinds have means of their own, over the batch: half of (half of the first two, and the
    third).

    Args:
        boundary: probabilities.
        labels: class ids; a pair with a 255 at either end does not count.
        radius: cells.
    """
    sums, counts = boundary.new_zeros(3), boundary.new_zeros(3)
    for dy, dx in half_plane_offsets(radius):
        if dy >= boundary.shape[-2] or abs(dx) >= boundary.shape[-1]:
            continue
        affinity = 1 - highest_on_path(boundary, dy, dx)
        start, end = shifted(labels, dy, dx, 0, 0), shifted(labels, dy, dx, dy, dx)
        known, alike = (start != IGNORE) & (end != IGNORE), start == end
        together, apart = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
        kinds = [
            (known & alike & (start == 0), together),
            (known & alike & (start > 0), together),
            (known & ~alike, apart),
        ]
        sums = sums + torch.stack([(cost * chosen).sum() for chosen, cost in kinds])
        counts = counts + torch.stack([chosen.sum() for chosen, _ in kinds])
    background, classes, different = sums / (mean_over_processes(counts) + EPSILON)
    return ((background + classes) / 2 + different) / 2
