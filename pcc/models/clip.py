"""Frozen CLIP by open_clip, with learned prompts (semples.md §3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pcc.artifacts.networks import read_weights
from pcc.runtime.errors import InputError
from pcc.runtime.settings import File

TEMPLATE = "a photo of"
INNER_FULL_STOP = 13  # token of a full stop inside a word


class Clip:
    """Frozen CLIP with L2-normalised image and text features.

    Not an nn.Module, so that its weights are not stored with a method. It follows the device of its inputs.

    Args:
        name: open_clip model name, or a JSON file with a model configuration.
        weights: open_clip tag such as ``openai`` (downloaded or cached), a safetensors file, or ``random``.
        full_stop: token of the full stop after a learned prompt: ``word``, from the tokenizer, or ``inner``, as in
            SemPLeS's released code.

    Raises:
        InputError: an unknown name, weights that are not available or do not fit, or an unsupported text tower.
    """

    def __init__(self, name: File, weights: File, full_stop: Literal["word", "inner"] = "word") -> None:
        self.model: Any = _create(name, weights).eval().requires_grad_(False)
        self.tokenizer = open_clip.get_tokenizer(_registered(name))
        if not isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            raise InputError(f"clip.name: {name} has its own tokenizer; use a model with CLIP's")
        visual = cast(nn.Module, self.model.visual)
        self.image_size = int(torch.as_tensor(visual.image_size).flatten()[0])
        self.mean, self.std = (torch.tensor(getattr(visual, key)).view(3, 1, 1) for key in ("image_mean", "image_std"))
        self.full_stop = full_stop
        self._texts: dict[str, Float[Tensor, " D"]] = {}

    def encode_images(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """L2-normalised features of normalised images of `image_size`."""
        self.model.to(images.device)
        return functional.normalize(self.model.encode_image(images).float(), dim=1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "T D"]:
        """L2-normalised features of texts; cached."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            tokens = self.tokenizer(new).to(self._device)
            features = functional.normalize(self.model.encode_text(tokens).float(), dim=1)
            self._texts |= dict(zip(new, features, strict=True))
        return torch.stack([self._texts[text] for text in texts]).to(self._device)

    def encode_prompts(self, prompts: Float[Tensor, "P N E"]) -> Float[Tensor, "P D"]:
        """L2-normalised features of "a photo of", N learned tokens and a full stop; differentiable.

        Args:
            prompts: embeddings of at most `most_words` tokens each.
        """
        count, words = prompts.shape[:2]
        self.model.to(prompts.device)
        opening = [self.tokenizer.sot_token_id, *self._words(TEMPLATE)]
        stop = self._words(".") if self.full_stop == "word" else [INNER_FULL_STOP]
        # Placeholder ids are replaced below; they must not be the end token, where features are read.
        ids = [*opening, *[0] * words, *stop, self.tokenizer.eot_token_id]
        tokens = torch.tensor([ids + [0] * (self._context - len(ids))] * count, device=prompts.device)

        def insert(_module: nn.Module, _given: object, embedded: Tensor) -> Tensor:
            after = len(opening) + words
            return torch.cat([embedded[:, : len(opening)], prompts.to(embedded.dtype), embedded[:, after:]], dim=1)

        hook = self._embedding.register_forward_hook(insert)
        try:
            return functional.normalize(self.model.encode_text(tokens).float(), dim=1)
        finally:
            hook.remove()

    def words(self, text: str) -> Float[Tensor, "N E"]:
        """Token embeddings of a text, without start and end."""
        return self._embedding.weight[torch.tensor(self._words(text), device=self._device)]

    def _words(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer.encode(text)]

    @property
    def _context(self) -> int:
        return int(self.tokenizer.context_length)

    @property
    def _embedding(self) -> nn.Embedding:
        text = getattr(self.model, "text", self.model)
        return cast(nn.Embedding, text.token_embedding)

    @property
    def _device(self) -> torch.device:
        return self._embedding.weight.device


def names_for_clip(classes: Sequence[str], names: Mapping[str, str] | None) -> list[str]:
    """Class names in prompts: from ``names``, else with underscores replaced by spaces."""
    return [(names or {}).get(name, name.replace("_", " ")) for name in classes]


def word_width(name: str) -> int:
    """Width of the token embeddings, without building the model."""
    return _text_tower(name, "width")


def most_words(name: str) -> int:
    """Maximum number of learned tokens between the template and the full stop."""
    template = open_clip.SimpleTokenizer().encode(TEMPLATE)
    return _text_tower(name, "context_length") - len(template) - 3  # start, full stop, end


def _text_tower(name: str, setting: str) -> int:
    settings = open_clip.get_model_config(_registered(name)) or {}
    try:
        return int(settings["text_cfg"][setting])
    except KeyError as error:
        raise InputError(f"clip.name: '{name}' has no CLIP text tower") from error


def _registered(name: str) -> str:
    """Name of the model in open_clip; JSON files are registered first."""
    if not name.endswith(".json"):
        return name
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"clip.name: file {path} not found; use an open_clip model name or a JSON file of its configuration"
        )
    open_clip.add_model_config(path)
    return path.stem


def _create(name: str, weights: str) -> nn.Module:
    known = _registered(name)
    if known not in open_clip.list_models():
        raise InputError(f"clip.name: open_clip has no '{name}'; see open_clip.list_models()")
    local = weights.endswith(".safetensors")
    tag = None if local or weights == "random" else weights
    if tag is not None and tag not in open_clip.list_pretrained_tags_by_model(known):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(known)) or "none"
        raise InputError(f"clip.weights: no '{weights}' for {name}; allowed: random, a .safetensors file, {tags}")
    try:
        # OpenAI's weights need QuickGELU.
        quick = bool(tag and (open_clip.get_pretrained_cfg(known, tag) or {}).get("quick_gelu"))
        model = open_clip.create_model(known, pretrained=tag, force_quick_gelu=quick)
        if local:
            model.load_state_dict(read_weights(Path(weights), "restore it or name another file"))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"clip.weights: weights of {name} not available ({reason}); go online once, or use a local file"
        ) from error
    return model
