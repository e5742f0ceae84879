"""The model card: what an exported network is, how it was made, how well it did, and what it is not for."""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pcc.reporting.escape import block, code, inline
from pcc.reporting.tables import SCORES

SUPERVISION = {
    "labels": "image-level labels: pseudo masks; no ground-truth mask was used in training",
    "masks": "masks: ground-truth masks of the training images",
}
HEAD = "---\nlibrary_name: pcc\npipeline_tag: image-segmentation\n---\n"


def model_card(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The card in Markdown.

    Args:
        config: what goes to config.json, digests included.
        facts: ``description``, ``provenance``, ``metrics`` and ``dataset`` of the results; the last three may be None.
    """
    metrics = facts["metrics"]
    experiment = (metrics or {}).get("experiment") or {}
    dataset = experiment.get("dataset") or facts["dataset"] or "not known"
    title = " / ".join(str(part) for part in (dataset, experiment.get("segmenter") or config["type"]))
    return "\n".join(
        [
            f"{HEAD}# Semantic segmentation: {inline(title)}",
            "",
            f"A {code(config['type'])} network of PCC {config['pcc']} that gives every pixel one of "
            f"{len(config['classes'])} classes.",
            "",
            *_data(config, dataset, experiment),
            *_use(config),
            *_scores(metrics),
            *_onnx(config),
            *_origin(config, facts["provenance"]),
            *_limits(config),
        ]
    )


def _data(config: Mapping[str, Any], dataset: str, experiment: Mapping[str, Any]) -> list[str]:
    steps = [f"{name} {experiment[name]}" for name in ("method", "localization", "refinement") if experiment.get(name)]
    names = [f"{number} {inline(name)}" for number, name in enumerate(config["classes"])]
    return [
        "## Training",
        "",
        f"- data set: {inline(dataset)}, split train",
        f"- supervision: {SUPERVISION.get(config['supervision']) or inline(config['supervision'])}",
        *([f"- pseudo masks by: {inline(', '.join(steps))}"] if steps else []),
        f"- classes by id: {', '.join(names)}",
        "",
    ]


def _use(config: Mapping[str, Any]) -> list[str]:
    return [
        "## Use",
        "",
        "```",
        "pcc predict THIS_FOLDER images --output predictions",
        "```",
        "",
        f"Settings of prediction (from {inline(config['prediction_from'])}): {code(json.dumps(config['prediction']))}.",
        f"Input: RGB in 0..1, {sides(config['multiple_of'])}; normalisation is inside the network.",
        "",
    ]


def _scores(metrics: Mapping[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["## Scores", "", "None: no metrics.json lies beside the network.", ""]
    lines = [
        "## Scores",
        "",
        f"As in metrics.json, by the workflow's own predictions. split: {inline(json.dumps(metrics['split']))}, "
        f"num_images: {json.dumps(metrics['num_images'])}, oracle: {json.dumps(metrics['oracle'])}, "
        f"labels_at_inference: {json.dumps(metrics['labels_at_inference'])}.",
        *(["", "`oracle: true`: ground-truth masks chose something, such as an epoch."] * metrics["oracle"]),
        *([f"note: {inline(metrics['note'])}"] if metrics.get("note") else []),
        f"Ignored pixels: {inline(metrics['ignore_policy'])}.",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {name} | {json.dumps(metrics[name])} |" for name in SCORES if name in metrics),
        "",
        "| class | IoU |",
        "|---|---|",
        *(f"| {inline(name)} | {json.dumps(value)} |" for name, value in metrics["iou"].items()),
        "",
    ]
    if (weights := metrics["settings"].get("initial_weights")) is not None:
        named = ", ".join(without_places(weights.split(", ")))  # a network and where its weights came from
        lines += [f"Initial weights of the encoder: {inline(named)}.", ""]
    return lines


def _onnx(config: Mapping[str, Any]) -> list[str]:
    onnx = config["onnx"]
    if onnx is None:
        return ["## ONNX", "", "Not exported.", ""]
    worst = max(found["difference"] for found in onnx["compared_with_pytorch"])
    side = onnx["size"]
    takes = (
        "any batch, height and width"
        if side == "any"
        else (f"any batch of {side} x {side} pixels **only**: this network could not be exported for any size")
    )
    return [
        "## ONNX",
        "",
        f"`{onnx['file']}` takes {takes}, and gives {onnx['output']['meaning']}.",
        f"Its logits and PyTorch's differ by at most {worst:.2g} over {len(onnx['compared_with_pytorch'])} sizes "
        f"(allowed: {onnx['tolerance']:g}).",
        "",
    ]


def _origin(config: Mapping[str, Any], provenance: Mapping[str, Any] | None) -> list[str]:
    lines = ["## Provenance", ""]
    if provenance is None:
        lines += ["No provenance.json lies beside the network.", ""]
    else:
        lines += [
            f"- seed: {inline(provenance.get('seed'))}",
            f"- git revision: {inline(provenance.get('git'))}",
            f"- code: {inline(provenance.get('code'))}",
            f"- device: {inline(provenance.get('device'))}",
            f"- versions: {inline(', '.join(f'{n} {v}' for n, v in (provenance.get('versions') or {}).items()))}",
            *(
                f"- SHA-256 of input {inline(without_places(name))}: {inline(value)}"
                for name, value in (provenance.get("inputs") or {}).items()
            ),
        ]
    lines += [f"- SHA-256 of {name}: {value}" for name, value in config["digests"].items()]
    settings = (provenance or {}).get("settings")
    if settings is not None:
        shown = json.dumps(without_places(settings), indent=2, ensure_ascii=False)
        lines += ["", "Settings of the training:", "", block(shown, "json")]
    return [*lines, ""]


def _limits(config: Mapping[str, Any]) -> list[str]:
    weak = (
        "It was trained on image-level labels: expect less exact edges than from a network trained on masks, "
        "missing parts of large objects, and co-occurring surroundings labelled as the class."
    )
    return [
        "## Intended use and limits",
        "",
        "For research, and for images like those it was trained on. It knows the classes above and no others: "
        "everything else is background or, wrongly, the most similar class. Its accuracy on other images is "
        "unknown until measured. Do not use it where people's safety or rights depend on the result.",
        *(["", weak] if config["supervision"] == "labels" else []),
        "",
        "## Licence",
        "",
        "State here what the licences of the training images and the initial weights allow. "
        "Whoever passes this folder on is responsible for that. PCC itself is Apache-2.0.",
        "",
    ]


def without_places(settings: Any) -> Any:
    """The same settings; absolute paths, which reveal a machine, are cut to file names."""
    if isinstance(settings, Mapping):
        return {key: without_places(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [without_places(value) for value in settings]
    if isinstance(settings, str) and PurePath(settings).is_absolute():
        return PurePath(settings).name
    return settings


def sides(multiple_of: int) -> str:
    """What sides an image may have, in words."""
    return "sides of any length" if multiple_of == 1 else f"sides that are multiples of {multiple_of}"
