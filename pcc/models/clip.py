"""CLIP as a frozen judge of images: a thin door to open_clip, and prompts of learned words (semples.md §3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import open_clip
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pcc.runtime.errors import InputError

TEMPLATE = "a photo of"
INNER_FULL_STOP = 13  # the token of a full stop within a word


class Clip:
    """Image and text features in one space, of unit length; nothing in it is ever trained.

    Not a module: it belongs to no network's weights, and follows the device of what it is given.

    Args:
        name: of an open_clip model, or a JSON file with the settings of one.
        weights: a tag of open_clip's for that name, such as ``openai``, fetched or from the cache; a local
            safetensors file; or ``random``.
        full_stop: token of the full stop after a learned prompt: ``word`` is what a tokenizer gives, ``inner`` what
            SemPLeS's released code takes.

    Raises:
        InputError: an unknown name, weights that cannot be had or do not fit, or a text tower of another kind.
    """

    def __init__(self, name: str, weights: str, full_stop: Literal["word", "inner"] = "word") -> None:
        self.model: Any = _create(name, weights).eval().requires_grad_(False)
        self.tokenizer = open_clip.get_tokenizer(_registered(name))
        if not isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            raise InputError(f"clip.name: {name} has a tokenizer of its own; take a model with CLIP's")
        visual = cast(nn.Module, self.model.visual)
        self.image_size = int(torch.as_tensor(visual.image_size).flatten()[0])
        self.mean, self.std = (
            torch.tensor(getattr(visual, key)).view(3, 1, 1) for key in ("image_mean", "image_std")
        )
        self.full_stop = full_stop
        self._texts: dict[str, Float[Tensor, " D"]] = {}

    def encode_images(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Unit features of images that are normalised and of `image_size` already."""
        self.model.to(images.device)
        return functional.normalize(self.model.encode_image(images).float(), dim=1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "T D"]:
        """Unit features of sentences; each is computed once."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            tokens = self.tokenizer(new).to(self._device)
            features = functional.normalize(self.model.encode_text(tokens).float(), dim=1)
            self._texts |= dict(zip(new, features, strict=True))
        return torch.stack([self._texts[text] for text in texts]).to(self._device)

    def encode_prompts(self, prompts: Float[Tensor, "P N E"]) -> Float[Tensor, "P D"]:
        """Unit features of "a photo of", N learned words and a full stop; gradients reach the words.

        Args:
            prompts: at most `most_words` words each.
        """
        count, words = prompts.shape[:2]
        self.model.to(prompts.device)
        opening = [self.tokenizer.sot_token_id, *self._words(TEMPLATE)]
        stop = self._words(".") if self.full_stop == "word" else [INNER_FULL_STOP]
        # Whatever stands in the slots is replaced; it must not be the end's id, which marks where features are read.
        ids = [*opening, *[0] * words, *stop, self.tokenizer.eot_token_id]
        tokens = torch.tensor([ids + [0] * (self._context - len(ids))] * count, device=prompts.device)

        def insert(_module: nn.Module, _given: object, embedded: Tensor) -> Tensor:
            after = len(opening) + words
            return torch.cat(
                [embedded[:, : len(opening)], prompts.to(embedded.dtype), embedded[:, after:]], dim=1
            )

        hook = self._embedding.register_forward_hook(insert)
        try:
            return functional.normalize(self.model.encode_text(tokens).float(), dim=1)
        finally:
            hook.remove()

    def words(self, text: str) -> Float[Tensor, "N E"]:
        """The embeddings of a text's own tokens, without start and end."""
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
    """What classes are called in a sentence: as told, else their own names with spaces for underscores."""
    return [(names or {}).get(name, name.replace("_", " ")) for name in classes]


def word_width(name: str) -> int:
    """Length of a word's embedding in the model of that name, without making it."""
    return _text_tower(name, "width")


def most_words(name: str) -> int:
    """How many learned words fit between the template and the full stop in the model of that name."""
    template = open_clip.SimpleTokenizer().encode(TEMPLATE)
    return _text_tower(name, "context_length") - len(template) - 3  # start, full stop, end


def _text_tower(name: str, setting: str) -> int:
    settings = open_clip.get_model_config(_registered(name)) or {}
    try:
        return int(settings["text_cfg"][setting])
    except KeyError as error:
        raise InputError(f"clip.name: '{name}' is no model with CLIP's own text tower") from error


def _registered(name: str) -> str:
    """The name under which open_clip knows the model; a file of settings is made known first."""
    if not name.endswith(".json"):
        return name
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"clip.name: no file {path}; name a JSON file of an open_clip model, or one of its models"
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
        raise InputError(
            f"clip.weights: no '{weights}' for {name}; allowed: random, a .safetensors file, {tags}"
        )
    try:
        # OpenAI's weights were trained with another activation than the model's default.
        quick = bool(tag and (open_clip.get_pretrained_cfg(known, tag) or {}).get("quick_gelu"))
        model = open_clip.create_model(known, pretrained=tag, force_quick_gelu=quick)
        if local:
            model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"clip.weights: weights of {name} cannot be had ({reason}); go online once, or name a local file"
        ) from error
    return model
