"""Masks from Python: a trained segmenter and an image, with test-time augmentation and CRF post-processing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, overload, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pcc.artifacts.networks import reason
from pcc.data.images import Picture, as_rgb
from pcc.data.tensors import image_tensor
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.hardware import Precision, autocast, device
from pcc.runtime.plugins import load_attribute
from pcc.runtime.settings import Pixels, Scales, SettingsOf

# By name, so that predictions without a CRF do not depend on its code.
CRF = Annotated[Mapping[str, Any], SettingsOf("pcc.refine.crf:dense_crf", ("image", "probabilities"))]
Pictures = list[Picture] | tuple[Picture, ...]
Mask = UInt8[np.ndarray, "H W"]
Probabilities = Float[np.ndarray, "C H W"]


@runtime_checkable
class Network(Protocol):
    """What predicts: a `pcc.models.segmenter.Segmenter`, or the same network in another engine."""

    @property
    def multiple_of(self) -> int:
        """What must divide the sides of an image."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits [B, C, h, w] of images [B, 3, H, W], RGB in 0..1."""


@dataclass(frozen=True)
class Prediction:
    """The ``prediction`` block of a segmenter in the configuration.

    Attributes:
        image_size: side of the square that scale 1 sees, pixels; None keeps the image's own size.
        scales: test-time augmentation: image sizes, as factors.
        flip: test-time augmentation: the mirrored image too, at each scale.
        merge: of all scales and flips: ``mean`` of the probabilities, or ``maximum`` of the logits of each class, on
            the finest scale's grid (DeepLab).
        crf: settings of `pcc.refine.crf.dense_crf`; None: no CRF.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 where the hardware has it.
    """

    image_size: Pixels | None = None
    scales: Scales = (1.0,)
    flip: bool = True
    merge: Literal["mean", "maximum"] = "mean"
    crf: CRF | None = None
    precision: Precision = "no"


class Predictor:
    """Masks of images.

    Args:
        network: on `pcc.runtime.hardware.device`.
        settings: how it predicts.
        classes: names by class id, background first.

    Examples:
        >>> predictor = Predictor.load(segmenter)  # a folder of `pcc export`, or results/.../SEGMENTER
        >>> mask = predictor("cat.png")
        >>> mask.shape, mask.dtype
        ((32, 48), dtype('uint8'))
        >>> mask, probabilities = predictor("cat.png", probabilities=True)
        >>> probabilities.shape, predictor.classes
        ((4, 32, 48), ('background', 'cat', 'dog', 'boat'))
    """

    def __init__(self, network: Network, settings: Prediction, classes: Sequence[str]) -> None:
        self.network, self.settings, self.classes = network, settings, tuple(classes)

    @staticmethod
    def load(
        model: Path | str,
        *,
        engine: Literal["torch", "onnx"] = "torch",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int = 1,
        **settings: Any,
    ) -> "Predictor":
        """The model of a folder that `pcc export` wrote, or of a trained segmenter in the results.

        Args:
            model: the folder.
            engine: PyTorch, or onnxruntime on the CPU (exported models with a model.onnx).
            device: ``auto``: a GPU where there is one.
            threads: CPU threads of onnxruntime.
            settings: of `Prediction`, in place of the experiment's.

        Raises:
            InputError: no model there, a damaged one, or settings that do not fit.
        """
        # Not an import: the workflow's predictions do not depend on exported folders, nor need their packages.
        package = import_module("pcc.deployment.package")
        return package.open_model(Path(model)).predictor(engine=engine, device=device, threads=threads, **settings)

    @overload
    def __call__(self, image: Picture, *, probabilities: Literal[False] = False) -> Mask: ...
    @overload
    def __call__(self, image: Picture, *, probabilities: Literal[True]) -> tuple[Mask, Probabilities]: ...
    @overload
    def __call__(self, image: Pictures, *, probabilities: Literal[False] = False) -> list[Mask]: ...
    @overload
    def __call__(self, image: Pictures, *, probabilities: Literal[True]) -> list[tuple[Mask, Probabilities]]: ...

    def __call__(self, image: Picture | Pictures, *, probabilities: bool = False) -> Any:
        """Class ids of an image at its own size; of several images, a list. Each image is decoded once.

        Args:
            image: path, PIL image or array uint8 [H, W, 3]; or a list of them: those of one size go through the
                network together.
            probabilities: return (class ids, probabilities) instead, float32 [C, H, W].

        Raises:
            InputError: an image that cannot be read or predicted, or logits that are not finite.
        """
        if isinstance(image, list | tuple):
            return self._results([as_rgb(one) for one in image], probabilities)
        return self._results([as_rgb(image)], probabilities)[0]

    def _results(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], probabilities: bool) -> list[Any]:
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            by_size.setdefault(image.shape, []).append(number)
        found: dict[int, Any] = {}
        for numbers in by_size.values():
            averaged = self.probabilities(np.stack([images[number] for number in numbers]))
            for number, values in zip(numbers, averaged, strict=True):
                refined = post_process(images[number], values, self.settings.crf)
                mask = to_class_ids(refined)
                found[number] = (mask, refined) if probabilities else mask
        return [found[number] for number in range(len(images))]

    def probabilities(self, images: UInt8[np.ndarray, "B H W 3"]) -> Float[Tensor, "B C H W"]:
        """Class probabilities, merged over scales and flips, before any CRF; images of one size.

        Raises:
            InputError: the network cannot take this size, or its logits are not finite or of other classes.
        """
        size, views = images.shape[1:3], self._views(images)
        if self.settings.merge == "maximum":
            logits = list(views)
            grid = max((view.shape[-2:] for view in logits), key=math.prod)
            return _resize(torch.stack([_resize(view, grid) for view in logits]).amax(dim=0), size).softmax(1)
        total = torch.zeros(())
        for view in views:
            total = total + _resize(view, size)
        return total / (len(self.settings.scales) * (1 + self.settings.flip))

    def _views(self, images: UInt8[np.ndarray, "B H W 3"]) -> Iterator[Float[Tensor, "B C h w"]]:
        """What is merged, for each scale and flip: probabilities or logits, on the network's grid."""
        count, (height, width) = len(images), images.shape[1:3]
        side, multiple = self.settings.image_size, self.network.multiple_of
        for scale in self.settings.scales:
            seen_at = [
                max(1, round(edge * scale / multiple)) * multiple
                for edge in ((height, width) if side is None else (side, side))
            ]
            given = torch.stack([image_tensor(image, (seen_at[0], seen_at[1])) for image in images]).to(device())
            with torch.inference_mode(), autocast(self.settings.precision):
                found = self._logits(torch.cat([given, given.flip(-1)]) if self.settings.flip else given)
                if self.settings.merge == "mean":
                    found = found.softmax(1)
                found = found.float().cpu()
            yield found[:count]
            if self.settings.flip:
                yield found[count:].flip(-1)

    def _logits(self, images: Tensor) -> Tensor:
        try:
            logits = self.network(images)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # a network may not fit an image's size, and a stranger's may fit none
            if "memory" in str(error):
                raise
            sides = "x".join(map(str, images.shape[-2:]))
            raise InputError(f"the network fails at {sides} pixels ({reason(error)})") from error
        count, classes = len(images), len(self.classes)
        if logits.ndim != 4 or logits.shape[:2] != (count, classes):
            raise InputError(f"the network's logits are {list(logits.shape)}, not [{count}, {classes}, h, w]")
        if not logits.isfinite().all():
            raise InputError(
                "the network's logits are NaN or infinite; predict with precision no or bf16, or train the network "
                "again"
            )
        return logits


def _resize(values: Float[Tensor, "B C h w"], size: Sequence[int]) -> Float[Tensor, "B C H W"]:
    return functional.interpolate(values, tuple(size), mode="bilinear", align_corners=False)


def post_process(
    image: UInt8[np.ndarray, "H W 3"], probabilities: Float[Tensor, "C H W"], crf: Mapping[str, Any] | None
) -> Probabilities:
    """The probabilities after a CRF of these settings; unchanged without any.

    Raises:
        InputError: settings that the CRF does not have.
    """
    if crf is None:
        return probabilities.numpy()
    # By name, so that predictions without a CRF do not depend on its code.
    dense_crf = load_attribute("pcc.refine", "crf", "dense_crf", "prediction.crf")
    return call_with(dense_crf, crf, "prediction.crf", image=image, probabilities=probabilities.numpy())


def to_class_ids(probabilities: Probabilities) -> Mask:
    """The most probable class of every pixel."""
    return probabilities.argmax(axis=0).astype(np.uint8)
