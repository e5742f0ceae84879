"""The method's own maps, averaged over scales and mirrored views."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import merge_tta, soft_iou
from pcc.methods.base import Method


class Localization(nn.Module):
    """Maps of a batch of images of one size.

    ``agreements`` holds, for the batch just seen, how alike the maps of each class are in two views, [B, C] in [0, 1]:
    ``mirrored`` is the soft IoU of the method's maps of the images and of their mirror images, at the last scale.

    Args:
        method: a trained method.
        scales: sizes of the views, as factors.
        flip: whether each view is also seen mirrored.
        multiple_of: sides of a view are rounded to this, for networks of fixed patches.
        stride: pixels of scale 1, across, for one cell of the maps; None: the grid of the largest scale.
    """

    def __init__(
        self,
        method: Method,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        multiple_of: int = 1,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        self.method, self.scales, self.flip, self.multiple_of = method, tuple(scales), flip, multiple_of
        self.stride = stride
        self.agreements: dict[str, Float[Tensor, "B C"]] = {}

    def forward(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Localization maps, background first, on the grid that `grid` says."""
        views = [
            self.over_flips(self._activations, self._scaled(images, scale), compared_as=labels)[0]
            for scale in self.scales
        ]
        return self.method.to_maps(merge_tta(views, self.grid(images, views)), labels)

    def grid(
        self, images: Float[Tensor, "B 3 H W"], views: Sequence[Float[Tensor, "B _ _ _"]]
    ) -> tuple[int, int]:
        """(height, width) of the maps of ``images``, whose views have grids of their own.

        docs/decisions/0012-stored-maps.md says what the choice costs.
        """
        if self.stride is not None:
            return -(-images.shape[2] // self.stride), -(-images.shape[3] // self.stride)
        finest = max(views, key=lambda view: view.shape[2] * view.shape[3])
        return finest.shape[2], finest.shape[3]

    def over_flips(
        self,
        compute: Callable[[Tensor], Sequence[Tensor]],
        view: Float[Tensor, "B 3 H W"],
        compared_as: Float[Tensor, "B K"] | None = None,
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """What ``compute`` gives for a view; with ``flip``, its mean with that for the mirror image.

        Where labels are given, the first of what is given is the method's activations, and both are compared.
        """
        seen = compute(view)
        if not self.flip:
            return list(seen)
        mirrored = [other.flip(-1) for other in compute(view.flip(-1))]
        if compared_as is not None:
            straight, back = (self.method.to_maps(some[0], compared_as).float() for some in (seen, mirrored))
            self.agreements["mirrored"] = soft_iou(straight, back).nan_to_num(0.0)
        return [(one + other) / 2 for one, other in zip(seen, mirrored, strict=True)]

    def _activations(self, view: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B A h w"]]:
        return [self.method.activations(view)]

    def _scaled(self, images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 _ _"]:
        """Bicubic, in whole levels of 255 as Pillow resizes: what the field's scripts show their networks."""
        if scale == 1:
            return images
        size = [
            max(1, round(side * scale / self.multiple_of)) * self.multiple_of for side in images.shape[-2:]
        ]
        levels = images * 255
        if images.device.type == "cpu":  # seven times faster than on floats; GPUs cannot
            levels = levels.round().to(torch.uint8).contiguous(memory_format=torch.channels_last)
        resized = functional.interpolate(levels, size, mode="bicubic", align_corners=False, antialias=True)
        return resized.float().round().clamp(0, 255) / 255
