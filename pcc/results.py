"""Where a data set's results lie, for those who write them and those who read them.

Read by the workflow's rules too, so it imports the standard library only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcc.configuration import CHAIN

MANIFEST, DATASET = "data/manifest.csv", "data/dataset.json"
# The steps after a classifier: what each leaves in its folder, and of which split.
STEPS = {
    "localization": ("maps", "train"),
    "refinement": ("pseudo_masks", "train"),
    "segmenter": ("predictions", "val"),
}
KINDS = tuple(kind for kind, _ in STEPS.values())  # in the order of the workflow
# Folders of trained networks, and the stage that trains them.
NETWORKS = {"classifier": "train", "boundary": "train_boundary", "segmenter": "train_segmenter"}
# All folders of artifacts, and the stage that leaves them, in the order of the workflow.
ARTIFACTS = {
    "data": "prepare",
    "classifier": "train",
    "maps": "localize",
    "boundary": "train_boundary",
    "boundaries": "boundaries",
    "pseudo_masks": "pseudo_masks",
    "segmenter": "train_segmenter",
    "predictions": "segment",
}
BY_MASKS = "masks"  # in place of a method, where the segmenter is trained on ground-truth masks


def branches(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Choices by folder, such as ``pcc/seed-0/iscam/crf``; steps not taken yet are None.

    Chains that begin alike share folders, which is how experiments share what they have in common.
    """
    found = {}
    for experiment in config["experiments"]:
        for seed in config["seeds"]:
            folder = f"{experiment.get('method', BY_MASKS)}/seed-{seed}"
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


def choices_of(folder: str) -> dict[str, Any]:
    """The choices that a folder stands for: the inverse of `branches`, but for the data set's name.

    Examples:
        >>> choices_of("pcc/seed-0/cam")["localization"]
        'cam'
    """
    method, seed, *rest = folder.split("/")
    choices: dict[str, Any] = dict.fromkeys(CHAIN)
    if method == BY_MASKS:
        choices |= {"supervision": "masks", "segmenter": " / ".join(rest)}
    else:
        choices |= {"supervision": "labels", **dict(zip(CHAIN, (method, *rest), strict=False))}
    return {**choices, "seed": int(seed.removeprefix("seed-"))}


def last_step(choices: Mapping[str, Any]) -> str:
    """The step that a branch ends with."""
    return [step for step in STEPS if choices[step]][-1]


def data_above(path: Path, name: str) -> Path | None:
    """The file ``data/NAME`` of the results that an artifact lies in; None where there is none.

    Args:
        path: of the artifact.
        name: ``manifest.csv`` or ``dataset.json``.
    """
    candidates = (file for folder in path.absolute().parents for file in (folder / "data" / name, folder / name))
    return next((file for file in candidates if file.is_file()), None)


def shards(folder: Path, kind: str) -> tuple[Path, ...]:
    """The finished shards in a folder of maps (files), pseudo masks or predictions (folders)."""
    found = folder.glob("*.safetensors" if kind == "maps" else "*/")
    return tuple(sorted(path for path in found if not path.name.startswith(".")))


def is_unfinished(path: Path) -> bool:
    """Whether a path below the results lies in the working folder of a stage that is not finished."""
    return any(part.startswith(".") for part in path.parts)
