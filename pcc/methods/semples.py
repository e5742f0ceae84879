"""SemPLeS: learned prompts that push the background out (Lin et al., WACV 2025, arXiv 2401.11791; semples.md).

The losses come first. One row per pair of an image and one of its classes, in a joint image-text space: ``v_f`` and
``v_b`` are the embeddings of the image's foreground and background under the class's map, ``t`` of the class's name,
``u`` of its learned prompt. Rows need not be normalised. No rows give a zero loss.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Literal

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
from pcc.runtime.parallel import mean_over_processes
from pcc.trainable import Batch, ParameterGroup

Rows = Float[Tensor, "P D"]
PerPair = Float[Tensor, " P"]
Scalar = Float[Tensor, ""]
LOWEST, HIGHEST = 1e-4, 0.9999


def matching_loss(v_f: Rows, v_b: Rows, t: Rows, background_weight: int | float) -> Scalar:
    """Segment-label matching: the foreground shows the class, the background does not; trains the maps."""
    return _mean(_attraction(v_f, t)) + background_weight * _mean(_repulsion(v_b, t))


def prompt_loss(
    v_b: Rows, u: Rows, t: Rows, repel_weight: int | float, repel: Literal["log", "log1m"] = "log"
) -> Scalar:
    """Contrastive prompt learning: the prompt describes the background and not the class; trains the prompts.

    Args:
        v_b: background embeddings.
        u: prompt embeddings.
        t: class-name embeddings.
        repel_weight: weight of the second part.
        repel: ``log`` for ``+log cos(t, u)``, as in the published training; ``log1m`` for
            ``-log(1 - cos(t, u))``, the form of the other two losses.

    Raises:
        InputError: another ``repel``.
    """
    if repel not in ("log", "log1m"):
        raise InputError(f"SemPLeS prompt loss: repel is {repel!r}; choose 'log' or 'log1m'")
    away = -_attraction(t, u) if repel == "log" else _repulsion(t, u)
    return _mean(_attraction(v_b, u)) + repel_weight * _mean(away)


def refinement_loss(v_f: Rows, u: Rows) -> Scalar:
    """Prompt-guided refinement: the foreground is unlike the class's usual background; trains the maps."""
    return _mean(_repulsion(v_f, u))


def _attraction(a: Rows, b: Rows) -> PerPair:
    return -_cosine(a, b).log()


def _repulsion(a: Rows, b: Rows) -> PerPair:
    return -(1 - _cosine(a, b)).log()


def _cosine(a: Rows, b: Rows) -> PerPair:
    # At least fp32: in fp16 the upper bound would round to 1 and its logarithm to -inf.
    precise = torch.promote_types(a.dtype, torch.float32)
    return F.cosine_similarity(a.to(precise), b.to(precise), dim=1).clamp(LOWEST, HIGHEST)


def _mean(values: PerPair) -> Scalar:
    return values.sum() / max(1, len(values))


def soft_masks(maps: Float[Tensor, "P h w"], size: int, epsilon: float) -> Float[Tensor, "P 1 S S"]:
    """Each map upsampled (align-corners) and brought to 0..r / (r + epsilon), r its range (semples.md §2)."""
    large = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=True)
    low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
    return (large - low) / (high - low + epsilon)


class SemPLeS(Method):
    """Another method's maps, trained on until a frozen CLIP sees the class in the foreground and nothing of it behind.

    Phases (semples.md §5): ``match`` trains a copy of the generator by the class names alone; ``prompts`` learns, from
    that copy's masks, words for what surrounds each class; ``refine`` trains the generator, from its own start again,
    so that its foreground does not match them. The maps are the generator's. Each masked image is encoded once a step,
    names and learned prompts once.

    Generators stay in evaluation mode: no dropout, running statistics as they are.

    Args:
        classes: names of the foreground classes.
        clusters: not used; every method is handed them.
        generator: a trained method (``after: {generator: …}``): its type, clusters and settings.
        clip: settings of `Clip`.
        prompts: a trained SemPLeS whose prompts are taken (``after: {prompts: …}``), so that ``refine`` can run alone.
        names: what a class is called towards CLIP, where that is not its own name (with spaces for underscores); CLIMS
            and SemPLeS say ``player`` for ``person``.
        prompt_length: learned words for each class.
        prompt_init: ``uniform01``, as released, or ``normal``, with the deviation 0.02 of CLIP's own words; the
            published learning rate goes with the first.
        background_weight: of the background's part in the matching loss.
        repel_weight: of the class name's part in the prompt loss.
        refine_weight: of the refinement loss beside the matching loss.
        repel: see `prompt_loss`.
        mask_epsilon: in `soft_masks` while maps are trained; it damps maps of a small range, which those of generators
            that bring every map to a peak of 1 hardly have.
        prompt_mask_epsilon: the same while prompts are trained.
        clip_norm: statistics that images are normalised with before they are masked and shown to CLIP: ``imagenet``, as
            released, or ``clip``. What is masked out has the mean colour.

    Raises:
        InputError: no generator, prompts of another CLIP or length, or a phase of another name.
    """

    learned: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        clusters: Sequence[Sequence[int]],
        clip: dict[str, Any],
        generator: Mapping[str, Any] | None = None,
        prompts: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        prompt_length: int = 30,
        prompt_init: Literal["uniform01", "normal"] = "uniform01",
        background_weight: float = 2.4,
        repel_weight: float = 0.02,
        refine_weight: float = 0.05,
        repel: Literal["log", "log1m"] = "log",
        mask_epsilon: float = 0.1,
        prompt_mask_epsilon: float = 1e-4,
        clip_norm: Literal["imagenet", "clip"] = "imagenet",
    ) -> None:
        super().__init__()
        if generator is None:
            raise InputError("methods: semples refines another method; name it with after: {generator: NAME}")
        self.generator = _built(generator, classes)
        # Of the copy that `match` trains, only what it trains is stored.
        trained = set(map(id, self.generator.map_parameters()))
        self.trained = [name for name, p in self.generator.named_parameters() if id(p) in trained]
        self.matched = nn.ParameterList(self.generator.get_parameter(name).clone() for name in self.trained)
        self.clip_settings, self.prompt_length = clip, prompt_length
        if prompts is not None:
            self._check_prompts(prompts["model"])
        name = str(clip.get("name", ""))
        shape = (len(classes), prompt_length, word_width(name))
        if prompt_length > (most := most_words(name)):
            raise InputError(
                f"model.prompt_length: {prompt_length} words; at most {most} fit into {name}'s text"
            )
        draw = torch.rand(shape) if prompt_init == "uniform01" else 0.02 * torch.randn(shape)
        self.prompts = nn.Parameter(draw)
        self.register_buffer(
            "learned", torch.zeros((), dtype=torch.bool)
        )  # whether the prompts say anything yet
        self.names = names_for_clip(classes, names)
        if unknown := sorted(set(names or {}) - set(classes)):
            raise InputError(f"model.names: {', '.join(unknown)} not among the data set's classes")
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
        """Made at the first step of a training: localization does without."""
        return call_with(Clip, self.clip_settings, "model.clip")

    def _check_prompts(self, other: Mapping[str, Any]) -> None:
        if other.get("clip") != self.clip_settings or other.get("prompt_length", 30) != self.prompt_length:
            raise InputError(
                "model: clip or prompt_length differs from that of the method whose prompts are taken (after: prompts)"
            )

    def start_from(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """``generator`` starts both copies; ``prompts`` are taken out of another SemPLeS."""
        self.generator.load_state_dict(dict(weights["generator"]))
        for name, copied in zip(self.trained, self.matched, strict=True):
            copied.data.copy_(self.generator.get_parameter(name))
        if "prompts" in weights:
            self.prompts.data.copy_(weights["prompts"]["prompts"])
            self.learned.copy_(weights["prompts"]["learned"])

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        """``match`` trains the copy's maps, ``prompts`` the words, ``refine`` the generator's maps."""
        trained = {
            "match": list(self.matched),
            "prompts": [self.prompts],
            "refine": [self.generator.get_parameter(name) for name in self.trained],
        }
        if phase not in trained:
            raise InputError(f"training.phases: semples has no '{phase}'; allowed: {', '.join(trained)}")
        return [ParameterGroup(trained[phase])]

    def losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The phase's losses over all pairs of an image and one of its classes (semples.md §4)."""
        assert batch.images is not None, "images are masked: there are no features to reuse"
        images, classes = torch.nonzero(batch.labels, as_tuple=True)
        # Of the pairs of all processes, which share a batch's images but not evenly its tags.
        pairs = mean_over_processes(torch.tensor(float(len(images)), device=batch.labels.device))
        share = len(images) / pairs.clamp(min=1e-9)
        epsilon = self.prompt_mask_epsilon if phase == "prompts" else self.mask_epsilon
        with torch.no_grad() if phase == "prompts" else nullcontext():
            maps = self.localize_in_training(batch.images, batch.labels, phase)[images, 1 + classes].float()
        if not len(images):
            # A batch without a tag teaches nothing; its zero still has a graph to go back through.
            self._watched = {}
            names = {"match": ("match",), "prompts": ("prompt",), "refine": ("match", "refine")}[phase]
            return dict.fromkeys(names, 0 * (self.prompts if phase == "prompts" else maps).sum())
        masks = soft_masks(maps, self.clip.image_size, epsilon)
        seen = self._for_clip(batch.images)[images]
        v_f, v_b = self.clip.encode_images(torch.cat([masks * seen, (1 - masks) * seen])).chunk(2)
        t = self.clip.encode_texts([f"{TEMPLATE} {self.names[k]}." for k in classes.tolist()])
        u = None if phase == "match" else self._encoded_prompts(phase)[classes]
        watched = {**_similarities(v_f, v_b, t, u), "mask_area": masks.mean()}
        self._watched = {name: value.detach() for name, value in watched.items()}
        if u is not None and phase == "prompts":
            return {"prompt": share * prompt_loss(v_b, u, t, self.repel_weight, self.repel)}
        match = {"match": share * matching_loss(v_f, v_b, t, self.background_weight)}
        return (
            match if u is None else {**match, "refine": share * self.refine_weight * refinement_loss(v_f, u)}
        )

    def localize_in_training(
        self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"], phase: str
    ) -> Float[Tensor, "B C h w"]:
        """The maps of the generator that the phase trains or looks at."""
        maps = _Maps(self.generator)
        changed = {} if phase == "refine" else dict(zip(self.trained, self.matched, strict=True))
        weights = {f"generator.{name}": value for name, value in changed.items()}
        return functional_call(maps, weights, (images, labels))

    def watched(self) -> dict[str, Tensor]:
        """Mean cosines and mask area of the last step (semples.md §8.6): a collapse shows here first."""
        return self._watched

    def _for_clip(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 S S"]:
        """Normalised, at the size that CLIP takes; a product with a mask then leaves the mean colour."""
        mean, std = (
            (self.clip.mean, self.clip.std)
            if self.clip_norm == "clip"
            else (
                torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
            )
        )
        size = (self.clip.image_size, self.clip.image_size)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return (images - mean.to(images.device)) / std.to(images.device)

    def _encoded_prompts(self, phase: str) -> Float[Tensor, "K D"]:
        """While they are learned, every step; afterwards they do not change and are encoded once."""
        if phase == "prompts":
            self._fixed = None
            self.learned.fill_(True)
            return self.clip.encode_prompts(self.prompts)
        if not self.learned:
            raise InputError(
                "training.phases: refine has no learned prompts; train the phase prompts before it, or name a method"
                " that has learned them with after: {prompts: NAME}"
            )
        if self._fixed is None:
            with torch.no_grad():
                self._fixed = self.clip.encode_prompts(self.prompts)
        return self._fixed

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        return self.generator.encode(images)

    def is_encoder_frozen(self, phase: str) -> bool:
        """Images are needed at every step, to be masked."""
        return False

    def activations(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B A h w"]:
        return self.generator.activations(images)

    def view(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B A h w"], Float[Tensor, "B D g v"]]:
        return self.generator.view(images)

    def to_maps(
        self, activations: Float[Tensor, "B A h w"], labels: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B C h w"]:
        return self.generator.to_maps(activations, labels)

    def train(self, mode: bool = True) -> "SemPLeS":
        """Generators stay as they were trained: no dropout, no new statistics."""
        super().train(mode)
        self.generator.eval()
        for module in self.generator.modules():
            if isinstance(module, nn.RNNBase):  # cuDNN goes backward through these in training mode only
                module.train(mode)
        return self


class _Maps(nn.Module):
    """``localize`` as ``forward``, for weights that are exchanged on the way."""

    def __init__(self, generator: Method) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B K"]) -> Tensor:
        return self.generator.localize(images, labels)


def _built(described: Mapping[str, Any], classes: Sequence[str]) -> Method:
    model = without_weights(described["model"])
    return load_method(described["type"], classes, described["clusters"], model)


def _similarities(v_f: Rows, v_b: Rows, t: Rows, u: Rows | None) -> dict[str, Tensor]:
    pairs = {"foreground_name": (v_f, t), "background_name": (v_b, t)}
    if u is not None:
        pairs |= {"foreground_prompt": (v_f, u), "background_prompt": (v_b, u), "name_prompt": (t, u)}
    return {name: F.cosine_similarity(a, b, dim=1).mean() for name, (a, b) in pairs.items()}
