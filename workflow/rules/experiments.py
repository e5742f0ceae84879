"""Evaluation settings of an experiment, and published results to compare with."""

from collections.abc import Mapping
from typing import Any

from pcc.configuration import BLOCKS, CHAIN, encoder_of, methods_behind
from pcc.results import STEPS


def published(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Published results, each with its chain."""
    return [
        {**{key: experiment.get(key) for key in CHAIN}, **experiment["published"]}
        for experiment in config["experiments"]
        if "published" in experiment
    ]


def scoring_settings(config: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of each step, initial weights, and oracle flag of a branch."""
    found = {step: config[BLOCKS[step].key][choices[step]] for step in STEPS if choices[step]}
    methods, name = config["methods"], choices["method"]
    network = found.get("segmenter") or methods[encoder_of(methods, name)]
    behind = [methods[other] for other in methods_behind(methods, name)] if name else []
    if boundary := found.get("refinement", {}).get("boundary"):
        found["boundary_labels"] = config["refinements"][boundary["labels"]]
    return {
        **{step: entry["prediction"] if step == "segmenter" else entry for step, entry in found.items()},
        "initial_weights": initial_weights(network.get("model", {})),
        "oracle": any(map(chosen_by_masks, behind)),
    }


def chosen_by_masks(method: Mapping[str, Any]) -> bool:
    """Whether ground-truth masks select its checkpoint."""
    return any(phase.get("select") == "masks" for phase in method.get("training", {}).get("phases", []))


def initial_weights(model: Mapping[str, Any]) -> str | None:
    """Initial weights of the encoder, such as ``resnet50.tv_in1k, hub``; None if not set."""
    encoder = model.get("backbone", model)
    return ", ".join(str(encoder[key]) for key in ("name", "encoder", "weights") if key in encoder) or None
