"""Experiments as folders: every step of every chain, with the choices that lead there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configuration import BLOCKS, CHAIN

RESOURCES = Path(__file__).parents[2] / "pcc/resources"
# The steps after a classifier: what each leaves in its folder, and of which split.
STEPS = {
    "localization": ("maps", "train"),
    "refinement": ("pseudo_masks", "train"),
    "segmenter": ("predictions", "val"),
}


def branches(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Choices by folder, such as ``pcc/seed-0/iscam/crf``; steps not taken yet are None.

    Chains that begin alike share folders, which is how experiments share what they have in common.
    """
    found = {}
    for experiment in config["experiments"]:
        for seed in config["seeds"]:
            folder = f"{experiment.get('method', 'masks')}/seed-{seed}"
            choices = {
                "dataset": config["dataset"]["name"],
                "supervision": experiment["supervision"],
                "method": experiment.get("method"),
                "seed": seed,
                **dict.fromkeys(STEPS),
            }
            for step in filter(experiment.get, STEPS):
                folder = f"{folder}/{experiment[step]}"
                choices = {**choices, step: experiment[step]}
                found[folder] = choices
    return found


def published(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers that experiments are to be compared with, each with the choices it belongs to."""
    return [
        {**{key: experiment.get(key) for key in CHAIN}, **experiment["published"]}
        for experiment in config["experiments"]
        if "published" in experiment
    ]


def last_step(choices: Mapping[str, Any]) -> str:
    """The step that a branch ends with."""
    return [step for step in STEPS if choices[step]][-1]


def scoring_settings(config: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """What a number depends on besides its chain: sizes, scales, flips and CRF by step; initial weights; masks."""
    found = {step: config[BLOCKS[step].key][choices[step]] for step in STEPS if choices[step]}
    methods, name = config["methods"], choices["method"]
    network = found.get("segmenter") or beginning(methods, name)
    behind = [methods[other] for other in methods_behind(methods, name)] if name else []
    if boundary := found.get("refinement", {}).get("boundary"):
        found["boundary_labels"] = config["refinements"][boundary["labels"]]
    return {
        **{step: entry["prediction"] if step == "segmenter" else entry for step, entry in found.items()},
        "initial_weights": initial_weights(network.get("model", {})),
        "oracle": any(map(chosen_by_masks, behind)),
    }


def methods_behind(methods: Mapping[str, Any], name: str) -> list[str]:
    """A method and those it begins with, however far back."""
    after = methods[name].get("after", {}).values()
    return [name, *(behind for other in after for behind in methods_behind(methods, other))]


def chosen_by_masks(method: Mapping[str, Any]) -> bool:
    """Whether true masks pick an epoch of its training."""
    return any(phase.get("select") == "masks" for phase in method.get("training", {}).get("phases", []))


def beginning(methods: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The method whose encoder this one has: its own, or that of the generator it begins with."""
    generator = methods[name].get("after", {}).get("generator")
    return beginning(methods, generator) if generator else methods[name]


def initial_weights(model: Mapping[str, Any]) -> str | None:
    """What a network's encoder begins with, such as ``resnet50.tv_in1k, hub``; None where the settings do not say."""
    encoder = model.get("backbone", model)
    return ", ".join(str(encoder[key]) for key in ("name", "encoder", "weights") if key in encoder) or None


def files_in(settings: Any) -> list[str]:
    """Files named in settings (weights, class lists): a change in one is a change of input."""
    if isinstance(settings, str):
        return [settings] if Path(settings).suffix and Path(settings).is_file() else []
    if isinstance(settings, Mapping):
        # A list that comes with the package is named without folder and suffix.
        names = [settings.get(key) for key in ("classes", "nouns")]
        lists = [str(path) for path in sorted(RESOURCES.glob("*.*")) if path.stem in names]
        return lists + files_in(list(settings.values()))
    values = settings if isinstance(settings, list) else []
    return [file for value in values for file in files_in(value)]
