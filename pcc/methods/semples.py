"""SemPLeS: semantic prompt learning for WSSS (Lin et al., WACV 2025, arXiv 2401.11791; semples.md).

The losses take one row per pair of an image and one of its labels, in the image-text space of CLIP: ``v_f`` and ``v_b``
embed the image's foreground and background under the class's map, ``t`` the class name, ``u`` its learned prompt. Rows
need not be normalised. Without rows, losses are zero.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pcc.artifacts.networks import without_weights
from pcc.methods.base import Method
from pcc.methods.loading import load_method
from pcc.models.backbones import Backbone
from pcc.models.clip import TEMPLATE, Clip, most_words, names_for_clip, word_width
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.settings import Epsilon, SettingsOf, Text, Weight, limits
from pcc.trainable import Batch, ParameterGroup

Rows = Float[Tensor, "P D"]
PerPair = Float[Tensor, " P"]
Scalar = Float[Tensor, ""]
LOWEST, HIGHEST = 1e-4, 0.9999


def matching_loss(v_f: Rows, v_b: Rows, t: Rows, background_weight: int | float) -> Scalar:
    """Segment-label matching (semples.md §4): foreground close to the class name, background far; trains the maps.

    Examples:
        >>> t = torch.tensor([[1.0, 0.0]])
        >>> round(matching_loss(t, torch.tensor([[1.0, 1.0]]), t, background_weight=2.4).item(), 3)
        2.947
    """
    return _mean(_attraction(v_f, t)) + background_weight * _mean(_repulsion(v_b, t))


def prompt_loss(
    v_b: Rows, u: Rows, t: Rows, repel_weight: int | float, repel: Literal["log", "log1m"] = "log"
) -> Scalar:
    """Contrastive prompt learning (semples.md §4): prompt close to the background, far from the class name.

    Args:
        v_b: background embeddings.
        u: prompt embeddings.
        t: class-name embeddings.
        repel_weight: weight of the repulsion from the class name.
        repel: ``log`` for ``+log cos(t, u)``, as published; ``log1m`` for ``-log(1 - cos(t, u))``, as in the other
            two losses.

    Raises:
        InputError: an invalid ``repel``.

    Examples:
        >>> v_b, u, t = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])
        >>> round(prompt_loss(v_b, u, t, repel_weight=0.5).item(), 3)
        0.173
    """
    if repel not in ("log", "log1m"):
        raise InputError(f"SemPLeS prompt loss: repel is {repel!r}; choose 'log' or 'log1m'")
    away = -_attraction(t, u) if repel == "log" else _repulsion(t, u)
    return _mean(_attraction(v_b, u)) + repel_weight * _mean(away)


def refinement_loss(v_f: Rows, u: Rows) -> Scalar:
    """Prompt-guided refinement (semples.md §4): foreground far from the learned prompt; trains the maps.

    Examples:
        >>> round(refinement_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).item(), 3)
        1.228
    """
    return _mean(_repulsion(v_f, u))


def _attraction(a: Rows, b: Rows) -> PerPair:
    return -_cosine(a, b).log()


def _repulsion(a: Rows, b: Rows) -> PerPair:
    return -(1 - _cosine(a, b)).log()


def _cosine(a: Rows, b: Rows) -> PerPair:
    # At least fp32: in fp16 the upper bound rounds to 1 and its logarithm to -inf.
    precise = torch.promote_types(a.dtype, torch.float32)
    return F.cosine_similarity(a.to(precise), b.to(precise), dim=1).clamp(LOWEST, HIGHEST)


def _mean(values: PerPair) -> Scalar:
    return values.sum() / max(1, len(values))


def soft_masks(maps: Float[Tensor, "P h w"], size: int, epsilon: float) -> Float[Tensor, "P 1 S S"]:
    """Upsample each map (align-corners) and rescale it to 0..r / (r + epsilon), r its range (semples.md §2)."""
    large = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=True)
    low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
    return (large - low) / (high - low + epsilon)


class SemPLeS(Method):
    """Fine-tunes the maps of another method (the generator) with a frozen CLIP.

    Phases (semples.md §5): ``match`` trains a copy of the generator with the class names. ``prompts`` learns a prompt
    for the background of each class from that copy's masks. ``refine`` trains the generator itself, from its initial
    weights, to keep its foreground away from these prompts. Localization uses the generator.

    Generators stay in evaluation mode: no dropout, frozen running statistics.

    Args:
        classes: names of the foreground classes.
        clusters: not used.
        generator: a trained method (``after: {generator: …}``): its type, clusters and settings.
        clip: settings of `Clip`.
        prompts: a trained SemPLeS to take the prompts from (``after: {prompts: …}``), to run ``refine`` alone.
        names: class names for CLIP that differ from the data set's (underscores become spaces); CLIMS and SemPLeS use
            ``player`` for ``person``.
        prompt_length: learned tokens per class.
        prompt_init: ``uniform01``, as released and as the published learning rate expects, or ``normal`` with CLIP's
            standard deviation, 0.02.
        background_weight: weight of the background in the matching loss.
        repel_weight: weight of the class name in the prompt loss.
        refine_weight: weight of the refinement loss.
        repel: repulsion of the prompt from the class name: ``log``, as published, or ``log1m``, as in the other losses.
        mask_epsilon: epsilon of `soft_masks` when training maps; it attenuates maps with a small range.
        prompt_mask_epsilon: epsilon of `soft_masks` when training prompts.
        clip_norm: normalisation of images before masking: ``imagenet``, as released, or ``clip``. Masked pixels get the
            mean colour.

    Raises:
        InputError: no generator, prompts of another CLIP or length, or an unknown phase.
    """

    learned: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        clip: Annotated[dict[str, Any], SettingsOf("pcc.models.clip:Clip")],
        generator: Mapping[str, Any] | None = None,
        prompts: Mapping[str, Any] | None = None,
        names: Mapping[Text, Text] | None = None,
        prompt_length: Annotated[int, limits("tokens", ge=1, le=1024)] = 30,
        prompt_init: Literal["uniform01", "normal"] = "uniform01",
        background_weight: Weight = 2.4,
        repel_weight: Weight = 0.02,
        refine_weight: Weight = 0.05,
        repel: Literal["log", "log1m"] = "log",
        mask_epsilon: Epsilon = 0.1,
        prompt_mask_epsilon: Epsilon = 1e-4,
        clip_norm: Literal["imagenet", "clip"] = "imagenet",
    ) -> None:
        super().__init__()
        if generator is None:
            raise InputError("methods: semples refines another method; name it with after: {generator: NAME}")
        self.generator = _built(generator, classes)
        # Only the trained parameters of the copy for `match` are stored.
        trained = set(map(id, self.generator.map_parameters()))
        self.trained = [name for name, p in self.generator.named_parameters() if id(p) in trained]
        self.matched = nn.ParameterList(self.generator.get_parameter(name).clone() for name in self.trained)
        self.clip_settings, self.prompt_length = clip, prompt_length
        if prompts is not None:
            self._check_prompts(prompts["model"])
        name = str(clip.get("name", ""))
        shape = (len(classes), prompt_length, word_width(name))
        if prompt_length > (most := most_words(name)):
            raise InputError(f"model.prompt_length: {prompt_length} tokens; at most {most} fit {name}")
        draw = torch.rand(shape) if prompt_init == "uniform01" else 0.02 * torch.randn(shape)
        self.prompts = nn.Parameter(draw)
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))  # whether prompts are trained
        self.names = names_for_clip(classes, names)
        if unknown := sorted(set(names or {}) - set(classes)):
            raise InputError(f"model.names: unknown classes {', '.join(unknown)}")
        self.background_weight, self.repel_weight = background_weight, repel_weight
        self.refine_weight, self.repel = refine_weight, repel
        self.mask_epsilon, self.prompt_mask_epsilon = mask_epsilon, prompt_mask_epsilon
        self.clip_norm = clip_norm
        self._fixed: Tensor | None = None
        self._watched: dict[str, Tensor] = {}

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """The generator's encoder."""
        return self.generator.backbone

    @cached_property
    def clip(self) -> Clip:
        """Created at the first training step; localization does not need it."""
        return call_with(Clip, self.clip_settings, "model.clip")

    def _check_prompts(self, other: Mapping[str, Any]) -> None:
        if other.get("clip") != self.clip_settings or other.get("prompt_length", 30) != self.prompt_length:
            raise InputError(
                "model: clip or prompt_length differs from the method that the prompts come from (after: prompts)"
            )

    def start_from(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load ``generator`` into both copies, and ``prompts`` from another SemPLeS."""
        self.generator.load_state_dict(dict(weights["generator"]))
        for name, copied in zip(self.trained, self.matched, strict=True):
            copied.data.copy_(self.generator.get_parameter(name))
        if "prompts" in weights:
            self.prompts.data.copy_(weights["prompts"]["prompts"])
            self.learned.copy_(weights["prompts"]["learned"])

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """``match`` trains the copy, ``prompts`` the prompts, ``refine`` the generator."""
        trained = {
            "match": list(self.matched),
            "prompts": [self.prompts],
            "refine": [self.generator.get_parameter(name) for name in self.trained],
        }
        if phase not in trained:
            raise InputError(f"training.phases: unknown phase '{phase}' of semples; allowed: {', '.join(trained)}")
        return [ParameterGroup(trained[phase])]

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """Losses of the phase over all pairs of an image and one of its labels (semples.md §4)."""
        assert batch.images is not None, "the encoder is not frozen"
        images, classes = torch.nonzero(batch.labels, as_tuple=True)
        # The parts of a batch have as many images, but not as many labels.
        weight = 1.0 if batch.pairs is None else len(images) / max(batch.pairs, 1e-9)
        epsilon = self.prompt_mask_epsilon if phase == "prompts" else self.mask_epsilon
        with torch.no_grad() if phase == "prompts" else nullcontext():
            maps = self.localize_in_training(batch.images, batch.labels, phase)[images, 1 + classes].float()
        if not len(images):
            # Without labels the loss is zero, but needs a graph for backward.
            self._watched = {}
            names = {"match": ("match",), "prompts": ("prompt",), "refine": ("match", "refine")}[phase]
            return dict.fromkeys(names, 0 * (self.prompts if phase == "prompts" else maps).sum())
        masks = soft_masks(maps, self.clip.image_size, epsilon)
        seen = self._for_clip(batch.images)[images]
        t = self.clip.encode_texts([f"{TEMPLATE} {self.names[k]}." for k in classes.tolist()])
        u = None if phase == "match" else self._encoded_prompts(phase)[classes]
        background = (1 - masks) * seen
        if u is not None and phase == "prompts":  # needs no foreground
            v_b = self.clip.encode_images(background)
            self._watch(masks, None, v_b, t, u)
            return {"prompt": weight * prompt_loss(v_b, u, t, self.repel_weight, self.repel)}
        v_f, v_b = self.clip.encode_images(torch.cat([masks * seen, background])).chunk(2)
        self._watch(masks, v_f, v_b, t, u)
        match = {"match": weight * matching_loss(v_f, v_b, t, self.background_weight)}
        if u is None:
            return match
        return {**match, "refine": weight * self.refine_weight * refinement_loss(v_f, u)}

    def localize_in_training(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"], phase: str
    ) -> Float[Tensor, "B C h w"]:
        """Maps of the generator used in ``phase``."""
        maps = _Maps(self.generator)
        changed = {} if phase == "refine" else dict(zip(self.trained, self.matched, strict=True))
        weights = {f"generator.{name}": value for name, value in changed.items()}
        return functional_call(maps, weights, (images, labels))

    def watched(self) -> dict[str, Tensor]:
        """Mean cosines and mask area of the last step (semples.md §8.6), to detect a collapse."""
        return self._watched

    def _watch(self, masks: Tensor, v_f: Rows | None, v_b: Rows, t: Rows, u: Rows | None) -> None:
        pairs = {
            "foreground_name": (v_f, t),
            "background_name": (v_b, t),
            "foreground_prompt": (v_f, u),
            "background_prompt": (v_b, u),
            "name_prompt": (t, u),
        }
        cosines = {
            name: F.cosine_similarity(a, b, dim=1).mean()
            for name, (a, b) in pairs.items()
            if a is not None and b is not None
        }
        self._watched = {name: value.detach() for name, value in {**cosines, "mask_area": masks.mean()}.items()}

    def _for_clip(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 S S"]:
        """Normalise and resize for CLIP; masking afterwards gives the mean colour."""
        mean, std = (
            (self.clip.mean, self.clip.std)
            if self.clip_norm == "clip"
            else (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
        )
        size = (self.clip.image_size, self.clip.image_size)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return (images - mean.to(images.device)) / std.to(images.device)

    def _encoded_prompts(self, phase: str) -> Float[Tensor, "K D"]:
        """Prompt embeddings: at every step while trained, once afterwards."""
        if phase == "prompts":
            self._fixed = None
            self.learned.fill_(True)
            return self.clip.encode_prompts(self.prompts)
        if not self.learned:
            raise InputError(
                "training.phases: refine has no learned prompts; add the phase prompts before it, or take the prompts"
                " of a trained method with after: {prompts: NAME}"
            )
        if self._fixed is None:
            with torch.no_grad():
                self._fixed = self.clip.encode_prompts(self.prompts)
        return self._fixed

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self.generator.encode(images)

    def is_encoder_frozen(self, phase: str) -> bool:
        """Always False: images are masked at every step."""
        return False

    def raw_maps(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B A h w"]:
        return self.generator.raw_maps(images)

    def raw_maps_and_features(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B A h w"], Float[Tensor, "B D g v"]]:
        return self.generator.raw_maps_and_features(images)

    def to_maps(self, raw_maps: Float[Tensor, "B A h w"], labels: Float[Tensor, "B K"]) -> Float[Tensor, "B C h w"]:
        return self.generator.to_maps(raw_maps, labels)

    def train(self, mode: bool = True) -> "SemPLeS":
        """Keep the generator in evaluation mode."""
        super().train(mode)
        self.generator.eval()
        for module in self.generator.modules():
            if isinstance(module, nn.RNNBase):  # cuDNN needs training mode for backward
                module.train(mode)
        return self


class _Maps(nn.Module):
    """``localize`` as ``forward``, for `functional_call`."""

    def __init__(self, generator: Method) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Tensor:
        return self.generator.localize(images, labels)


def _built(described: Mapping[str, Any], classes: Sequence[str]) -> Method:
    model = without_weights(described["model"])
    return load_method(described["type"], classes, described["clusters"], model)
