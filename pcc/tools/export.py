"""Export a trained segmenter as a self-contained folder: weights, settings, model card, ONNX."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

import pcc
from pcc.artifacts.networks import WEIGHTS, read_description, rerun, without_weights, write_weights
from pcc.deployment import onnx as onnx_file
from pcc.deployment.model_card import model_card, sides, without_places
from pcc.deployment.model_config import CARD, CONFIG, FORMAT, MODEL, ONNX, ModelConfig, checked
from pcc.deployment.package import REEVALUATE, find_segmenter, is_predicted_with, prediction_settings
from pcc.ids import BACKGROUND, palette
from pcc.models.backbones import Backbone
from pcc.models.segmenter import Segmenter, load_segmenter
from pcc.models.smp import SegmentationModels
from pcc.results import data_above
from pcc.runtime.errors import InputError, reason
from pcc.runtime.files import digest, partial_path, read_object, write_json, write_text
from pcc.runtime.ownership import check_unchanged
from pcc.runtime.progress import log


def export(segmenter: Path, output: Path, *, onnx: bool = True) -> None:
    """Write model.safetensors, config.json, README.md and model.onnx into a folder that needs nothing else.

    The files are made aside and moved when all are there, config.json last: a folder that has one is whole.

    Args:
        segmenter: a trained segmenter's folder in results, or the folder above it.
        output: a new folder, an empty one, or an earlier export, whose files are replaced.
        onnx: whether to write model.onnx, and compare it with PyTorch.

    Raises:
        InputError: no segmenter is there, the folder holds something else, packages for ONNX are missing, or the
            ONNX file computes something else than the network.
    """
    folder = find_segmenter(segmenter)
    _check_output(output)
    if onnx:
        onnx_file.require_packages()
    check_unchanged(folder / WEIGHTS)
    facts = _facts(folder)
    network = load_segmenter(folder)
    work = partial_path(output)
    shutil.rmtree(work, ignore_errors=True)
    try:
        write_weights(work / MODEL, network.state_dict())
        about = _write_onnx(network, work / ONNX, facts) if onnx else None
        config = _config(network, facts, about)
        config["digests"] = {name: digest(work / name) for name in (MODEL, ONNX) if (work / name).is_file()}
        checked(ModelConfig, config, f"{folder}: cannot be exported", "change the configuration and train again")
        write_text(work / CARD, _card(config, facts, folder.parent))
        write_json(work / CONFIG, config)
        _move(work, output)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    log.info("%s → %s", folder, output)


def _check_output(output: Path) -> None:
    if output.is_file():
        raise InputError(f"{output}: is a file; name a folder")
    if output.is_dir() and any(output.iterdir()):
        if not (output / CONFIG).is_file():
            raise InputError(f"{output}: not empty and no earlier export; name a new folder")
        if read_object(output / CONFIG, "name a new folder").get("format") != FORMAT:
            raise InputError(f"{output}: holds a {CONFIG} of another program; name a new folder")


def _move(work: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / CONFIG).unlink(missing_ok=True)
    (work / MODEL).chmod((work / CONFIG).stat().st_mode)  # safetensors writes for its owner alone
    for name in (MODEL, ONNX, CARD, CONFIG):
        if (work / name).is_file():
            (work / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)


def _facts(folder: Path) -> dict[str, Any]:
    """What the results say of a segmenter: its description, provenance, data set and metrics, where they are there.

    Scores of predictions by other weights than these are left out.
    """
    above = folder.parent
    prediction, source = prediction_settings(folder)
    provenance = folder / "provenance.json"
    metrics = above / "metrics.json"
    dataset = data_above(folder, "dataset.json")
    facts: dict[str, Any] = {
        "description": read_description(folder),
        "provenance": read_object(provenance, rerun(folder)) if provenance.is_file() else None,
        "metrics": read_object(metrics, REEVALUATE) if metrics.is_file() and is_predicted_with(folder) else None,
        "dataset": read_object(dataset, "rerun prepare").get("name") if dataset else None,
        "prediction": prediction,
        "prediction_from": source,
    }
    classes = [BACKGROUND, *facts["description"]["classes"]]
    if facts["metrics"] is not None and facts["metrics"].get("classes") != classes:
        raise InputError(f"{metrics}: scores other classes than {folder} has; evaluate again")
    return facts


def _card(config: Mapping[str, Any], facts: Mapping[str, Any], above: Path) -> str:
    try:
        return model_card(config, facts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{above}: metrics.json, or provenance.json beside the network, is damaged ({reason(error)}); {REEVALUATE}"
        ) from error


def _write_onnx(network: Segmenter, path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file and say what it takes and gives."""
    training = ((facts["provenance"] or {}).get("settings") or {}).get("training") or {}
    side = facts["prediction"]["image_size"] or training.get("image_size") or onnx_file.SMALLEST
    compared, fixed = onnx_file.write_onnx(network, path, side)
    worst = max(found.difference for found in compared)
    log.info("ONNX and PyTorch differ by %.2g at most, over %d sizes", worst, len(compared))
    size = "any" if fixed is None else fixed
    return {
        "file": ONNX,
        "input": {
            "name": onnx_file.INPUT,
            "shape": ["batch", 3, *(("height", "width") if fixed is None else (fixed, fixed))],
            "meaning": f"float32 RGB in 0..1, not normalised; {sides(network.multiple_of)}",
        },
        "output": {
            "name": onnx_file.OUTPUT,
            "shape": ["batch", len(facts["description"]["classes"]) + 1, "rows", "columns"],
            "meaning": "logits on the network's own grid: softmax over axis 1 gives probabilities, "
            "which are then resized bilinearly (half-pixel centres) to the image",
        },
        "size": size,
        "tolerance": onnx_file.TOLERANCE,
        "compared_with_pytorch": [asdict(found) for found in compared],
    }


def _config(network: Segmenter, facts: Mapping[str, Any], onnx: dict[str, Any] | None) -> dict[str, Any]:
    made = facts["description"]
    classes = [BACKGROUND, *made["classes"]]
    colours = np.array(palette()).reshape(256, 3)[: len(classes)]
    mean, std = _normalisation(network)
    return {
        "format": FORMAT,
        "pcc": pcc.__version__,
        "type": made["type"],
        "model": without_places(without_weights(made["model"])),
        "supervision": made["supervision"],
        "classes": classes,
        "palette": colours.tolist(),
        "multiple_of": network.multiple_of,
        "normalisation": {"mean": mean, "std": std, "where": "inside the network: images come as RGB in 0..1"},
        "prediction": facts["prediction"],
        "prediction_from": facts["prediction_from"],
        "onnx": onnx,
    }


def _normalisation(network: Segmenter) -> tuple[list[float] | None, list[float] | None]:
    """Channel means and standard deviations that the network applies itself; None if unknown."""
    for module in network.modules():
        if isinstance(module, Backbone):
            mean, std = ([round(float(v), 6) for v in values.flatten()] for values in (module.mean, module.std))
            return mean, std
    if isinstance(network, SegmentationModels):
        return list(IMAGENET_DEFAULT_MEAN), list(IMAGENET_DEFAULT_STD)
    return None, None
