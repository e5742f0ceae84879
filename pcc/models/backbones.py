"""Any timm network as a grid of tokens: ViTs and CNNs behind one forward pass."""

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import timm
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional

from pcc.runtime.errors import InputError


class Backbone(nn.Module):
    """A timm network without its head, from RGB in 0..1 to a grid of features.

    Args:
        name: timm's name of the architecture.
        weights: ``random``, ``hub`` (timm's own, fetched or from the cache) or the path of a safetensors file.
        levels: indices of timm's intermediate features to concatenate at the finest one's grid, each divided by its
            channel norm; None takes the last layer's output alone.
        mean: channel means of the input, where they differ from the architecture's own.
        std: channel standard deviations likewise.
        dilate: whether a smaller ``output_stride`` of ``settings`` widens the later kernels, as timm does; False only
            leaves strides out (SIPE, IRN).
        settings: passed on to ``timm.create_model`` (``output_stride``, ``img_size``, ``channels``, …).

    Raises:
        InputError: an unknown name or setting, or weights that cannot be had or do not fit.
    """

    network: Any  # timm's classes share methods, but no base class that declares them
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        weights: str = "random",
        levels: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dilate: bool = True,
        settings: dict[str, Any] | None = None,
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
            # Convolutions are up to four times faster so, in bf16 on a CPU above all.
            self.network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            side = self.small_side
            self.network.eval()
            try:
                grid = self(torch.zeros(1, 3, side, side))
            except (RuntimeError, AssertionError) as error:
                raise InputError(
                    f"backbone.name: {name} takes images of one size only, or gives no grid; use another network"
                ) from error
        self.dim, self.stride = grid.shape[1], side // grid.shape[2]

    @property
    def multiple_of(self) -> int:
        """Images must have sides that this divides (a ViT's patch; 1 for CNNs)."""
        return int(self.network.patch_embed.patch_size[0]) if hasattr(self.network, "patch_embed") else 1

    @property
    def small_side(self) -> int:
        """Side of an image that is large enough to see how the network behaves, pixels."""
        return self.multiple_of * math.ceil(64 / self.multiple_of)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Features of the last layer, or of ``levels``; class and register tokens are dropped."""
        images = self.normalise(images)
        if self.levels is not None:
            taps = self.network.forward_intermediates(
                images, indices=self.levels, norm=True, intermediates_only=True
            )
            return concatenate_levels(taps)
        features = self.network.forward_features(images)
        return self.to_grid(features, images) if self.is_vit else features

    @property
    def stage_widths(self) -> list[int]:
        """Channels of each stage of a CNN, of each block of a ViT."""
        return [int(info["num_chs"]) for info in self.network.feature_info]

    def stages(self, images: Float[Tensor, "B 3 H W"], count: int = 4) -> list[Float[Tensor, "B _ _ _"]]:
        """Features of the last ``count`` stages of a CNN (blocks of a ViT), each on its own grid."""
        return self.network.forward_intermediates(
            self.normalise(images), indices=count, intermediates_only=True
        )

    def stage_parameters(self, count: int) -> list[nn.Parameter]:
        """Parameters of the last ``count`` stages of `stages`, without what comes after the last of them."""
        ends = [str(info["module"]) + "." for info in self.network.feature_info]
        names = [name for name, _ in self.network.named_parameters()]
        last = {
            end: max(i for i, name in enumerate(names) if name.startswith(end))
            for end in ends[-count - 1 :: count]
        }
        before, end = last.values()
        parameters = dict(self.network.named_parameters())
        return [parameters[name] for name in names[before + 1 : end + 1]]

    def forward_with_tokens(
        self, images: Float[Tensor, "B 3 H W"], tokens: Float[Tensor, "B m D"], last: int
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B m D"]]:
        """ViT only: let extra tokens join before the last ``last`` blocks, and take them off the grid afterwards."""
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

    def forward_with_attention(
        self, images: Float[Tensor, "B 3 H W"], tokens: Float[Tensor, "B m D"]
    ) -> "Attended":
        """ViT only: extra tokens join before the first block; what every head of every block attends to is kept."""
        blocks = self.network.blocks
        weights: list[Tensor] = []
        outputs: list[Tensor] = []
        hooks = [
            b.attn.attn_drop.register_forward_hook(lambda _m, _i, out: weights.append(out)) for b in blocks
        ]
        hooks += [b.attn.register_forward_hook(lambda _m, _i, out: outputs.append(out)) for b in blocks]
        fused = [b.attn.fused_attn for b in blocks]
        try:
            for block in blocks:
                block.attn.fused_attn = False  # the fused kernel never writes its weights down
            grid, tokens = self.forward_with_tokens(images, tokens, len(blocks))
        finally:
            for block, was in zip(blocks, fused, strict=True):
                block.attn.fused_attn = was
            for hook in hooks:
                hook.remove()
        by_head = [
            out.unflatten(2, (block.attn.num_heads, -1)) for out, block in zip(outputs, blocks, strict=True)
        ]
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

    def normalise(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """RGB in 0..1 to the input the weights expect.

        Raises:
            InputError: sides that the patch size does not divide.
        """
        if images.shape[-1] % self.multiple_of or images.shape[-2] % self.multiple_of:
            raise InputError(
                f"image_size: {tuple(images.shape[-2:])} is not a multiple of the network's patch, {self.multiple_of}"
            )
        images = (images - self.mean) / self.std
        return images if self.is_vit else images.contiguous(memory_format=torch.channels_last)

    def to_grid(
        self, tokens: Float[Tensor, "B n D"], images: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B D h w"]:
        """Patch tokens back on their grid."""
        patches = tokens[:, self.network.num_prefix_tokens :]
        height, width = (side // self.multiple_of for side in images.shape[-2:])
        return patches.transpose(1, 2).unflatten(2, (height, width))

    def last_blocks(self, count: int | Literal["all"]) -> list[nn.Parameter]:
        """Parameters of the last ``count`` blocks and of the norm after them, by timm's own layer grouping."""
        named = dict(self.network.named_parameters())
        if count == "all":
            return list(named.values())
        if count == 0:
            return []
        groups = group_parameters(self.network, self.network.group_matcher(coarse=False))
        last = sorted(groups)[-count:]
        return [named[name] for layer in last for name in groups[layer] if name in named]


class Attended(NamedTuple):
    """What `Backbone.forward_with_attention` saw; L blocks of H heads.

    Attributes:
        grid: features of the patches.
        tokens: features of the extra tokens.
        token_to_patch: attention of the extra tokens to the patches, by block and head.
        patch_to_patch: of the patches to each other.
        outputs: of every head's share of each block's attention output, for all tokens.
    """

    grid: Float[Tensor, "B D h w"]
    tokens: Float[Tensor, "B m D"]
    token_to_patch: Float[Tensor, "B LH m n"]
    patch_to_patch: Float[Tensor, "B LH n n"]
    outputs: Float[Tensor, "B LH t d"]


def concatenate_levels(
    taps: Sequence[Float[Tensor, "B _ _ _"]], size: Sequence[int] | None = None
) -> Float[Tensor, "B D h w"]:
    """Unit-norm features of several layers, resampled to one grid and concatenated (sipe.md §1.7).

    Args:
        taps: features, each on its own grid.
        size: (height, width) of that grid; None: the finest of them.
    """
    size = size or max((tap.shape[-2:] for tap in taps), key=lambda s: s[0] * s[1])
    unit = [tap / (tap.norm(dim=1, keepdim=True) + 1e-5) for tap in taps]
    return torch.cat(
        [functional.interpolate(tap, tuple(size), mode="bilinear", align_corners=False) for tap in unit],
        dim=1,
    )


def _undilate(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and max(module.dilation) > 1:
            module.dilation, module.padding = (1, 1), tuple((side - 1) // 2 for side in module.kernel_size)


def _create(name: str, pretrained: bool, settings: dict[str, Any]) -> nn.Module:
    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = difflib.get_close_matches(name, known, n=5)
        raise InputError(
            f"backbone.name: timm has no '{name}'; near: {', '.join(near) or 'see timm.list_models()'}"
        )
    try:
        try:  # plain ViTs alone know this setting, by whatever name they go
            any_size = {"dynamic_img_size": True, **settings}
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **any_size)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **settings)
    except TypeError as error:
        raise InputError(f"backbone.settings: {name} refuses them ({error})") from error
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"backbone.weights: weights of {name} cannot be had ({reason}); go online once, or name a local file"
        ) from error


def _load(network: Any, path: Path, name: str) -> None:
    """Load a local safetensors file; a classifier head and the like in it are left out, nothing may be missing."""
    if not path.is_file():
        raise InputError(f"backbone.weights: no file {path} for {name}")
    # Converted files leave out the counters of batch norms, which nothing here reads.
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    stored = {key: value.float() for key, value in load_file(path).items()}
    if "pos_embed" in stored and stored["pos_embed"].shape != wanted["pos_embed"].shape:
        stored["pos_embed"] = timm.layers.resample_abs_pos_embed(
            stored["pos_embed"], network.patch_embed.grid_size, num_prefix_tokens=network.num_prefix_tokens
        )
    faults = [k for k, v in wanted.items() if k not in stored or stored[k].shape != v.shape]
    if faults:
        raise InputError(
            f"backbone.weights: {path} does not fit {name}: {len(faults)} tensors are missing or have another shape, "
            f"first {faults[0]}"
        )
    network.load_state_dict({key: stored[key] for key in wanted}, strict=False)
