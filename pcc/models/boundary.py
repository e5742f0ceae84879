"""Class boundaries learned from confident pseudo masks (Ahn et al., CVPR 2019, IRN; sipe.md §7.2).

Cells of the same class should have no boundary on the path between them, cells of different classes at least one. IRN's
displacement head is omitted: it is for instances only, and shares only frozen weights with the boundaries.
"""

import math
from typing import Annotated

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from pcc.ids import IGNORE
from pcc.models.backbones import Backbone, BackboneSettings
from pcc.refine.random_walk import STRIDE, half_plane_offsets, highest_on_path, shifted
from pcc.runtime.errors import call_with
from pcc.runtime.parallel import mean_over_processes
from pcc.runtime.settings import Cells, Channels, limits
from pcc.trainable import Batch, ParameterGroup, Trainable

TAPS = 5
Width = Annotated[Channels, limits(multiple_of=4)]
EPSILON = 1e-5


class BoundaryNetwork(Trainable):
    """A frozen CNN and a small head that predicts class boundaries at stride 4.

    Args:
        backbone: settings of `Backbone`; published: ``resnet50`` at ``output_stride`` 16 with ``dilate: false``.
        width: channels per stage of the backbone, a multiple of 4.
        radius: maximum distance of cell pairs in the loss, in cells of 4 pixels.
    """

    def __init__(self, backbone: BackboneSettings, width: Width = 32, radius: Cells = 10) -> None:
        super().__init__()
        self.backbone = call_with(Backbone, backbone, "boundary.model.backbone")
        self.radius = radius
        channels = self.backbone.stage_widths[-TAPS:]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1, bias=False), nn.GroupNorm(4, width)) for count in channels
        )
        self.fuse = nn.Conv2d(width * len(channels), 1, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w"]:
        """Boundary logits at stride 4, sizes rounded up."""
        size = [-(-side // STRIDE) for side in images.shape[-2:]]
        with torch.no_grad():
            taps = self.backbone.stages(images, len(self.heads))
            if hasattr(self.backbone.network, "maxpool"):  # timm's first features precede it
                taps[0] = self.backbone.network.maxpool(taps[0])
        resized = [
            functional.relu(functional.interpolate(head(tap), size, mode="bilinear", align_corners=False))
            for head, tap in zip(self.heads, taps, strict=True)
        ]
        return self.fuse(torch.cat(resized, dim=1))[:, 0]

    @torch.no_grad()
    def predict(self, image: Float[Tensor, "3 H W"]) -> Float[Tensor, "h w"]:
        """Boundary probability from the mean logits of the image and its flip (sipe.md §7.3).

        Images are padded at the right and bottom to a multiple of the backbone's stride. The released code pads to
        512, which crops larger images (pitfall P4).
        """
        height, width = (-(-side // STRIDE) for side in image.shape[-2:])
        whole = math.lcm(STRIDE, self.backbone.stride, self.backbone.multiple_of)
        padded = [-(-side // whole) * whole for side in image.shape[-2:]]
        both = self.backbone.mean.expand(2, 3, *padded).clone()  # zero after normalisation
        both[:, :, : image.shape[-2], : image.shape[-1]] = torch.stack([image, image.flip(-1)])
        straight, flipped = self(both)[:, :height, :width].float()
        return ((straight + flipped.flip(-1)) / 2).sigmoid()

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """`pair_loss` against pseudo masks with uncertain pixels ignored (255)."""
        assert batch.images is not None and batch.masks is not None
        boundary = self(batch.images).float().sigmoid()
        labels = functional.interpolate(batch.masks[:, None].float(), boundary.shape[-2:], mode="nearest-exact")
        return {"affinity": pair_loss(boundary, labels[:, 0].to(torch.uint8), self.radius)}

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """The head."""
        return [ParameterGroup([*self.heads.parameters(), *self.fuse.parameters()])]

    def train(self, mode: bool = True) -> "BoundaryNetwork":
        """The frozen backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self


def pair_loss(boundary: Float[Tensor, "B h w"], labels: UInt8[Tensor, "B h w"], radius: int) -> Float[Tensor, ""]:
    """Cross-entropy of the affinities of all cell pairs nearer than ``radius`` (IRN section 4).

    The affinity of two cells is 1 minus the highest boundary on the path between them. With batch means of background
    pairs (b), pairs of one class (c) and pairs of different classes (d), the loss is ``((b + c) / 2 + d) / 2``.

    Args:
        boundary: boundary probabilities.
        labels: class ids; pairs with a 255 are ignored.
        radius: in cells.
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
