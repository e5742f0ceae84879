"""The losses of SemPLeS (Lin et al., WACV 2025, arXiv 2401.11791).

The method that trains with them is not in this release.

One row per pair of an image and one of its classes, in a joint image-text space: ``v_f`` and ``v_b`` are the
embeddings of the image's foreground and background under the class's map, ``t`` of the class's name, ``u`` of
its learned prompt. Rows need not be normalised. No rows give a zero loss.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pcc.errors import InputError

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
