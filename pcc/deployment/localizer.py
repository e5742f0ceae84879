"""Localization maps from Python: a trained classifier, an image, its labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pcc.artifacts.maps import Maps
from pcc.artifacts.networks import read_description, read_object, rerun
from pcc.data.images import Picture, as_rgb
from pcc.data.tensors import image_tensor
from pcc.localizations.cam import Localization
from pcc.methods.loading import load_classifier
from pcc.models.backbones import Backbone
from pcc.models.folding import fold_batch_norms
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.hardware import Precision, autocast, device, keep_freed_memory, resolve_precision
from pcc.runtime.plugins import load_attribute

Size = tuple[int, int]


class Localizer:
    """Localization maps of background and of an image's own classes.

    Args:
        localization: a trained method and the way its maps are made.
        classes: names of the foreground classes, in the order of their ids.
        image_size: side of the square, or the longer side, that scale 1 sees, pixels; None with ``resize: keep``: the
            image's own.
        resize: ``square`` squeezes every image into a square; ``keep`` keeps its shape.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 where the hardware has it.

    Examples:
        >>> localizer = Localizer.load(classifier)  # such as results/shapes/pcc/seed-0/classifier
        >>> maps = localizer("cat.png", ["cat", "boat"])
        >>> maps.classes, maps.values.shape[0], maps.size
        ((0, 1, 3), 3, (32, 48))
    """

    def __init__(
        self,
        localization: Localization,
        classes: Sequence[str],
        *,
        image_size: int | None,
        resize: Literal["square", "keep"] = "square",
        precision: Precision = "no",
    ) -> None:
        self.localization = localization.eval().requires_grad_(False).to(device())
        self.classes, self.image_size = tuple(classes), image_size
        self.resize, self.precision = resize, precision
        keep_freed_memory()
        if resolve_precision(precision) == "no":
            _fold_batch_norms(localization)

    @staticmethod
    def load(
        classifier: Path | str,
        type: str = "cam",
        *,
        image_size: int | Literal["trained"] | None = "trained",
        resize: Literal["square", "keep"] = "square",
        precision: Precision = "no",
        **settings: Any,
    ) -> "Localizer":
        """A trained classifier of the results.

        Args:
            classifier: folder, such as ``results/shapes/pcc/seed-0/classifier``.
            type: the name of a module of `pcc.localizations`.
            image_size: see the class; ``trained``: the size that the classifier was trained with.
            resize: see the class.
            precision: see the class.
            settings: of the localization, such as ``scales`` and ``flip``.

        Raises:
            InputError: no trained classifier, or settings that do not fit.
        """
        folder = Path(classifier)
        method = load_classifier(folder)
        side = _trained_size(folder) if image_size == "trained" else image_size
        localization = call_with(
            load_attribute("pcc.localizations", type, "Localization", "localizations: type"),
            settings,
            f"localization {type}",
            method=method,
            multiple_of=method.backbone.multiple_of,
        )
        classes = read_description(folder)["classes"]
        return Localizer(localization, classes, image_size=side, resize=resize, precision=precision)

    def __call__(self, image: Picture, labels: Sequence[str]) -> Maps:
        """Maps at grid resolution; `pcc.maps.resize` brings them to the image's size.

        Args:
            image: path, PIL image or array uint8 [H, W, 3].
            labels: names of the classes in the image.

        Raises:
            InputError: an image that cannot be read, or a class that the classifier does not know.
        """
        if unknown := [name for name in labels if name not in self.classes]:
            raise InputError(f"unknown class '{unknown[0]}'; the classifier knows {', '.join(self.classes)}")
        array = as_rgb(image)
        size = (array.shape[0], array.shape[1])
        given = image_tensor(array, self.input_size(size))[None]
        present = torch.tensor([[float(name in labels) for name in self.classes]])
        return self.localize(given, present, [size])[0]

    def input_size(self, size: Size) -> Size:
        """(height, width) at which the network sees an image of ``size`` at scale 1."""
        side, multiple = self.image_size or max(size), self.localization.multiple_of
        factor = side / max(size)
        wanted = (side, side) if self.resize == "square" else tuple(round(edge * factor) for edge in size)
        height, width = (max(1, round(edge / multiple)) * multiple for edge in wanted)
        return height, width

    def localize(self, images: Tensor, labels: Tensor, sizes: Sequence[Size]) -> list[Maps]:
        """Maps of several images of one input size.

        Args:
            images: [B, 3, H, W] in 0..1.
            labels: multi-hot [B, K].
            sizes: the images' own (height, width).
        """
        with torch.inference_mode(), autocast(self.precision):
            values = self.localization(images.to(device()), labels.to(device())).float().cpu()
        agreements = {name: alike.cpu() for name, alike in self.localization.agreements.items()}
        found = []
        for number, size in enumerate(sizes):
            classes = [0, *(torch.nonzero(labels[number]).flatten() + 1).tolist()]
            alike = {name: tuple(views[number, classes].tolist()) for name, views in agreements.items()}
            found.append(Maps(tuple(classes), values[number, classes], size, alike))
        return found


def _trained_size(folder: Path) -> int:
    file = folder / "provenance.json"
    if not file.is_file():
        raise InputError(f"{file}: not found, so the training's image size is unknown; set image_size")
    try:
        return int(read_object(file, rerun(folder))["settings"]["training"]["image_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: the training's image size is missing; set image_size, or {rerun(folder)}") from error


def _fold_batch_norms(localization: Localization) -> None:
    """Of every backbone: the method's, and a second one for grouping."""
    for holder in list(localization.modules()):
        for name, child in list(holder.named_children()):
            if isinstance(child, Backbone):
                example = torch.rand(1, 3, child.small_side, child.small_side, device=child.mean.device)
                setattr(holder, name, fold_batch_norms(child, example))
