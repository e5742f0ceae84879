"""The method's own maps, averaged over scales and flips."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.maps import merge_tta, soft_iou
from pcc.methods.base import Method
from pcc.runtime.settings import Pixels, Scales


class Localization(nn.Module):
    """Localization maps of a batch of images of one size.

    ``agreements`` holds consistency measures of the last batch in [0, 1]: ``mirrored`` is the soft IoU of the maps of
    the images and of their flips, at the last scale.

    Args:
        method: a trained method.
        scales: test-time augmentation: factors of image_size.
        flip: test-time augmentation: average with the maps of the flipped image.
        multiple_of: round image sides to multiples of this, the patch size of a ViT.
        stride: side of a map cell in pixels at scale 1; None: the grid of the largest scale.
    """

    def __init__(
        self,
        method: Method,
        *,
        scales: Scales = (1.0,),
        flip: bool = True,
        multiple_of: int = 1,
        stride: Pixels | None = None,
    ) -> None:
        super().__init__()
        self.method, self.scales, self.flip, self.multiple_of = method, tuple(scales), flip, multiple_of
        self.stride = stride
        self.agreements: dict[str, Float[Tensor, "B C"]] = {}

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        """Localization maps, background first, on the grid of `grid`."""
        maps = [self.over_flips(self._raw_maps, self._scaled(images, scale), labels)[0] for scale in self.scales]
        return self.method.to_maps(merge_tta(maps, self.grid(images, maps)), labels)

    def grid(self, images: Float[Tensor, "B 3 H W"], by_scale: Sequence[Float[Tensor, "B _ _ _"]]) -> tuple[int, int]:
        """(height, width) of the merged maps (docs/decisions/0012-stored-maps.md)."""
        if self.stride is not None:
            return -(-images.shape[2] // self.stride), -(-images.shape[3] // self.stride)
        finest = max(by_scale, key=lambda maps: maps.shape[2] * maps.shape[3])
        return finest.shape[2], finest.shape[3]

    def over_flips(
        self,
        compute: Callable[[Tensor], Sequence[Tensor]],
        images: Float[Tensor, "B 3 H W"],
        labels: Float[Tensor, "B K"] | None = None,
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """Outputs of ``compute``, with ``flip`` averaged over the images and their flips.

        With ``labels``, the first output must be the method's raw maps; their agreement is recorded.
        """
        outputs = compute(images)
        if not self.flip:
            return list(outputs)
        flipped = [output.flip(-1) for output in compute(images.flip(-1))]
        if labels is not None:
            one, other = (self.method.to_maps(raw[0], labels).float() for raw in (outputs, flipped))
            self.agreements["mirrored"] = soft_iou(one, other).nan_to_num(0.0)
        return [(one + other) / 2 for one, other in zip(outputs, flipped, strict=True)]

    def _raw_maps(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B A h w"]]:
        return [self.method.raw_maps(images)]

    def _scaled(self, images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 _ _"]:
        """Bicubic resize in integer levels of 255, as Pillow does in the published code."""
        if scale == 1:
            return images
        size = [max(1, round(side * scale / self.multiple_of)) * self.multiple_of for side in images.shape[-2:]]
        levels = images * 255
        if images.device.type == "cpu":  # seven times faster than float; unsupported on GPUs
            levels = levels.round().to(torch.uint8).contiguous(memory_format=torch.channels_last)
        resized = functional.interpolate(levels, size, mode="bicubic", align_corners=False, antialias=True)
        return resized.float().round().clamp(0, 255) / 255
