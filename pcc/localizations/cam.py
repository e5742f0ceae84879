"""The method's own maps, averaged over scales and mirrored views."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import merge_views
from pcc.methods.base import Method


class Localization(nn.Module):
    """Maps of a batch of images of one size.

    Args:
        method: a trained method.
        scales: sizes of the views, as factors.
        flip: whether each view is also seen mirrored.
        multiple_of: sides of a view are rounded to this, for networks of fixed patches.
    """

    def __init__(
        self, method: Method, *, scales: Sequence[float] = (1.0,), flip: bool = True, multiple_of: int = 1
    ) -> None:
        super().__init__()
        self.method, self.scales, self.flip, self.multiple_of = method, tuple(scales), flip, multiple_of

    def forward(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        """Localization maps, background first, at the grid of scale 1."""
        return self.method.to_maps(self.over_views(self.method.activations, images), labels)

    def over_views(
        self, compute: Callable[[Tensor], Tensor], images: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B D h w"]:
        """Mean of ``compute`` over scales and mirrored views, on the first scale's grid."""
        views = [self.over_flips(compute, self._scaled(images, scale)) for scale in self.scales]
        height, width = views[0].shape[-2:]
        return merge_views(views, (height, width))

    def over_flips(
        self, compute: Callable[[Tensor], Tensor], view: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B D h w"]:
        """Mean of ``compute`` over a view and, with ``flip``, its mirror image."""
        seen = compute(view)
        return (seen + compute(view.flip(-1)).flip(-1)) / 2 if self.flip else seen

    def _scaled(self, images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 _ _"]:
        if scale == 1:
            return images
        size = [
            max(1, round(side * scale / self.multiple_of)) * self.multiple_of for side in images.shape[-2:]
        ]
        return functional.interpolate(
            images, size, mode="bicubic", align_corners=False, antialias=True
        ).clamp(0, 1)


def present_channels(labels: Float[Tensor, "K"]) -> list[int]:
    """Class ids of the channels that are stored: background and the image's own classes."""
    return [0, *(torch.nonzero(labels).flatten() + 1).tolist()]
