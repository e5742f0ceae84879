"""Fold batch norms into the preceding convolutions, for faster inference."""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

N = TypeVar("N", bound=nn.Module)
TOLERANCE = 1e-3  # relative to the largest output; rounding gives 1e-5, a wrong fold more than 1e-2


def fold_batch_norms(network: N, example: Float[Tensor, "B 3 H W"]) -> N:
    """A copy of a network for inference, with batch norms folded into convolutions; fp32 only.

    Pairs of convolution and norm are traced with ``example``. If the outputs of the copy differ, because a
    convolution's output is used elsewhere too, the network itself is returned. In bf16, rounding of the folded shifts
    would change results.

    Args:
        network: on the device of ``example``.
        example: input of ``forward``, which must return one tensor.
    """
    folded = copy.deepcopy(network).eval()
    with torch.no_grad():
        for convolution, norm in _pairs(folded, example):
            before, after = folded.get_submodule(convolution), folded.get_submodule(norm)
            assert isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)
            _replace(folded, convolution, fuse_conv_bn_eval(before, after))
            # timm's batch norms include the activation after them.
            _replace(folded, norm, getattr(after, "act", nn.Identity()))
        training = network.training
        expected, got = network.eval()(example), folded(example)
        network.train(training)
    same = bool((got - expected).abs().max() <= TOLERANCE * expected.abs().max())
    return folded if same else network


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and the batch norms that follow them, if each runs once."""
    made: dict[int, str] = {}  # by id of the tensor
    kept: list[Tensor] = []  # keeps ids unique
    runs: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def note(name: str, module: nn.Module, given: Tensor, result: Tensor) -> None:
        runs[name] = runs.get(name, 0) + 1
        if isinstance(module, nn.Conv2d):
            made[id(result)] = name
            kept.append(result)
        elif id(given) in made:
            pairs.append((made[id(given)], name))

    hooks = [
        module.register_forward_hook(lambda m, given, result, name=name: note(name, m, given[0], result))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) or (isinstance(module, nn.BatchNorm2d) and module.track_running_stats)
    ]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    read = [convolution for convolution, _ in pairs]
    return [(c, n) for c, n in pairs if runs[c] == runs[n] == 1 and read.count(c) == 1]
