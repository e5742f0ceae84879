"""timm networks, ViTs and CNNs, as encoders with grid features."""

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import timm
import torch
from jaxtyping import Float
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional

from pcc.artifacts.networks import read_weights
from pcc.runtime.errors import InputError, reason
from pcc.runtime.ranges import NOT_OF_A_NETWORK
from pcc.runtime.settings import Architecture, File, Fraction, SettingsOf, Text, limits

BackboneSettings = Annotated[dict[str, Any], SettingsOf("pcc.models.backbones:Backbone")]
Level = Annotated[int, limits(ge=-100, le=100)]
Deviation = Annotated[float, limits(ge=0.001, le=10)]
THREE = limits(min_length=3, max_length=3)


class Backbone(nn.Module):
    """A timm network without its head: RGB in 0..1 to grid features.

    Args:
        name: timm model name.
        weights: ``random``, ``hub`` (timm's, downloaded or cached) or a safetensors file.
        levels: indices of timm's intermediate features to L2-normalise and concatenate on the finest grid; None: the
            last layer only.
        mean: channel means of the input; default: the model's.
        std: channel standard deviations of the input; default: the model's.
        dilate: dilate kernels for a smaller ``output_stride``, as timm does; False only removes strides (SIPE, IRN).
        settings: passed to ``timm.create_model`` (``output_stride``, ``img_size``, ``channels``, …).

    Raises:
        InputError: an unknown name or setting, or weights that are not available or do not fit.
    """

    network: Any  # timm has no common base class
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: Text,
        weights: File = "random",
        levels: Annotated[Sequence[Level], limits(min_length=1, max_length=64)] | None = None,
        mean: Annotated[Sequence[Fraction], THREE] | None = None,
        std: Annotated[Sequence[Deviation], THREE] | None = None,
        dilate: bool = True,
        settings: Architecture | None = None,
    ) -> None:
        super().__init__()
        self.levels = None if levels is None else list(levels)
        self.network = _create(name, weights == "hub", settings or {})
        if not dilate:
            _undilate(self.network)
        if weights not in ("random", "hub"):
            _load(self.network, Path(weights), name)
        config = cast(dict[str, Any], self.network.pretrained_cfg)
        self.register_buffer("mean", torch.tensor(mean or config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or config["std"]).view(3, 1, 1), persistent=False)
        self.is_vit = hasattr(self.network, "patch_embed") and hasattr(self.network, "blocks")
        if not self.is_vit:
            # Up to four times faster, especially in bf16 on CPUs.
            self.network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            side = self.small_side
            self.network.eval()
            try:
                grid = self(torch.zeros(1, 3, side, side))
            except (RuntimeError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise InputError(
                    f"backbone.name: {name} supports only one image size, or has no grid features or not these levels "
                    "and settings; change them, or use another network"
                ) from error
        self.dim, self.stride = grid.shape[1], side // grid.shape[2]

    @property
    def multiple_of(self) -> int:
        """Image sides must be multiples of this: the patch size of ViTs, 1 for CNNs."""
        return int(self.network.patch_embed.patch_size[0]) if hasattr(self.network, "patch_embed") else 1

    @property
    def small_side(self) -> int:
        """Side of a small test image, pixels."""
        return self.multiple_of * math.ceil(64 / self.multiple_of)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Features of the last layer or of ``levels``, without class and register tokens."""
        images = self.normalise(images)
        if self.levels is not None:
            taps = self.network.forward_intermediates(images, indices=self.levels, norm=True, intermediates_only=True)
            return concatenate_levels(taps)
        features = self.network.forward_features(images)
        return self.to_grid(features, images) if self.is_vit else features

    @property
    def stage_widths(self) -> list[int]:
        """Channels of each stage (CNN) or block (ViT)."""
        return [int(info["num_chs"]) for info in self.network.feature_info]

    def stages(self, images: Float[Tensor, "B 3 H W"], count: int = 4) -> list[Float[Tensor, "B _ _ _"]]:
        """Features of the last ``count`` stages (CNN) or blocks (ViT), each on its own grid."""
        return self.network.forward_intermediates(self.normalise(images), indices=count, intermediates_only=True)

    def stage_parameters(self, count: int) -> list[nn.Parameter]:
        """Parameters of the last ``count`` `stages`, without later layers."""
        ends = [str(info["module"]) + "." for info in self.network.feature_info]
        names = [name for name, _ in self.network.named_parameters()]
        last = {
            end: max(i for i, name in enumerate(names) if name.startswith(end)) for end in ends[-count - 1 :: count]
        }
        before, end = last.values()
        parameters = dict(self.network.named_parameters())
        return [parameters[name] for name in names[before + 1 : end + 1]]

    def forward_with_tokens(
        self, images: Float[Tensor, "B 3 H W"], tokens: Float[Tensor, "B m D"], last: int
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B m D"]]:
        """ViT only: insert extra tokens before the last ``last`` blocks; return grid and token features."""
        images = self.normalise(images)
        network = self.network
        x = network.norm_pre(network._pos_embed(network.patch_embed(images)))
        joint = len(network.blocks) - last
        for block in network.blocks[:joint]:
            x = block(x)
        x = torch.cat([x, tokens], dim=1)
        for block in network.blocks[joint:]:
            x = block(x)
        x = network.norm(x)
        count = tokens.shape[1]
        return self.to_grid(x[:, : x.shape[1] - count], images), x[:, x.shape[1] - count :]

    def forward_with_attention(self, images: Float[Tensor, "B 3 H W"], tokens: Float[Tensor, "B m D"]) -> "Attended":
        """ViT only: insert extra tokens before the first block; return the attention of all heads and blocks."""
        blocks = self.network.blocks
        weights: list[Tensor] = []
        outputs: list[Tensor] = []
        hooks = [b.attn.attn_drop.register_forward_hook(lambda _m, _i, out: weights.append(out)) for b in blocks]
        hooks += [b.attn.register_forward_hook(lambda _m, _i, out: outputs.append(out)) for b in blocks]
        fused = [b.attn.fused_attn for b in blocks]
        try:
            for block in blocks:
                block.attn.fused_attn = False  # the fused kernel does not return attention weights
            grid, tokens = self.forward_with_tokens(images, tokens, len(blocks))
        finally:
            for block, was in zip(blocks, fused, strict=True):
                block.attn.fused_attn = was
            for hook in hooks:
                hook.remove()
        by_head = [out.unflatten(2, (block.attn.num_heads, -1)) for out, block in zip(outputs, blocks, strict=True)]
        patches, prefix = grid.shape[2] * grid.shape[3], self.network.num_prefix_tokens
        seen = slice(prefix, prefix + patches)
        attention = torch.cat(weights, dim=1)
        return Attended(
            grid,
            tokens,
            attention[:, :, prefix + patches :, seen],
            attention[:, :, seen, seen],
            torch.cat(by_head, dim=2).transpose(1, 2),
        )

    @torch.no_grad()
    def class_token(self) -> Float[Tensor, " D"] | None:
        """ViT only: the class token as the first block sees it, with its position embedding; None without any."""
        if self.network.cls_token is None:
            return None
        image = torch.zeros(1, 3, self.small_side, self.small_side)
        return self.network.norm_pre(self.network._pos_embed(self.network.patch_embed(image)))[0, 0]

    def normalise(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Normalise RGB in 0..1 for the network.

        Raises:
            InputError: sides are not multiples of the patch size.
        """
        if images.shape[-1] % self.multiple_of or images.shape[-2] % self.multiple_of:
            raise InputError(
                f"image_size: {tuple(images.shape[-2:])} is not a multiple of the network's patch, {self.multiple_of}"
            )
        images = (images - self.mean) / self.std
        return images if self.is_vit else images.contiguous(memory_format=torch.channels_last)

    def to_grid(self, tokens: Float[Tensor, "B n D"], images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Patch tokens as a grid."""
        patches = tokens[:, self.network.num_prefix_tokens :]
        height, width = (side // self.multiple_of for side in images.shape[-2:])
        return patches.transpose(1, 2).unflatten(2, (height, width))

    def last_blocks(self, count: int | Literal["all"]) -> list[nn.Parameter]:
        """Parameters of the last ``count`` blocks and the norm after them, by timm's layer groups."""
        named = dict(self.network.named_parameters())
        if count == "all":
            return list(named.values())
        if count == 0:
            return []
        groups = group_parameters(self.network, self.network.group_matcher(coarse=False))
        last = sorted(groups)[-count:]
        return [named[name] for layer in last for name in groups[layer] if name in named]


class Attended(NamedTuple):
    """Output of `Backbone.forward_with_attention`; L blocks of H heads.

    Attributes:
        grid: patch features.
        tokens: features of the extra tokens.
        token_to_patch: attention from extra tokens to patches, by block and head.
        patch_to_patch: attention between patches, likewise.
        outputs: attention outputs of all tokens, likewise.
    """

    grid: Float[Tensor, "B D h w"]
    tokens: Float[Tensor, "B m D"]
    token_to_patch: Float[Tensor, "B LH m n"]
    patch_to_patch: Float[Tensor, "B LH n n"]
    outputs: Float[Tensor, "B LH t d"]


def concatenate_levels(
    taps: Sequence[Float[Tensor, "B _ _ _"]], size: Sequence[int] | None = None
) -> Float[Tensor, "B D h w"]:
    """L2-normalise features of several layers, resize them to one grid and concatenate (sipe.md §1.7).

    Args:
        taps: features, each on its own grid.
        size: (height, width) of the grid; None: the finest.
    """
    size = size or max((tap.shape[-2:] for tap in taps), key=lambda s: s[0] * s[1])
    unit = [tap / (tap.norm(dim=1, keepdim=True) + 1e-5) for tap in taps]
    return torch.cat(
        [functional.interpolate(tap, tuple(size), mode="bilinear", align_corners=False) for tap in unit], dim=1
    )


def _undilate(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and max(module.dilation) > 1:
            module.dilation, module.padding = (1, 1), tuple((side - 1) // 2 for side in module.kernel_size)


def _create(name: str, pretrained: bool, settings: dict[str, Any]) -> nn.Module:
    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = difflib.get_close_matches(name, known, n=5)
        raise InputError(f"backbone.name: timm has no '{name}'; similar: {', '.join(near) or 'see timm.list_models()'}")
    for key in settings:
        if key in NOT_OF_A_NETWORK:
            raise InputError(
                f"backbone.settings: {key} is not allowed; set backbone.weights to a safetensors file or hub"
            )
    try:
        try:  # only plain ViTs support this setting
            any_size = {"dynamic_img_size": True, **settings}
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **any_size)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **settings)
    except InputError:
        raise
    except Exception as error:  # networks check their settings by whatever fails first
        if pretrained and isinstance(error, OSError | RuntimeError):
            raise InputError(
                f"backbone.weights: weights of {name} not available ({reason(error)}); "
                "go online once, or use a local file"
            ) from error
        raise InputError(f"backbone.settings: invalid for {name} ({reason(error)})") from error


def _load(network: Any, path: Path, name: str) -> None:
    """Load a safetensors file; extra tensors, such as a classifier head, are ignored."""
    if not path.is_file():
        raise InputError(f"backbone.weights: file {path} not found")
    # Converted files lack the unused counters of batch norms.
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    stored = {key: value.float() for key, value in read_weights(path, "restore it or name another file").items()}
    if "pos_embed" in stored and stored["pos_embed"].shape != wanted["pos_embed"].shape:
        stored["pos_embed"] = timm.layers.resample_abs_pos_embed(
            stored["pos_embed"], network.patch_embed.grid_size, num_prefix_tokens=network.num_prefix_tokens
        )
    faults = [k for k, v in wanted.items() if k not in stored or stored[k].shape != v.shape]
    if faults:
        raise InputError(
            f"backbone.weights: {path} does not fit {name}: {len(faults)} tensors are missing or differ in shape, "
            f"first {faults[0]}"
        )
    network.load_state_dict({key: stored[key] for key in wanted}, strict=False)
