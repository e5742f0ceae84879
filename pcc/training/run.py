"""A trained network as an artifact: how it is trained, written, and read back."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from torch import nn

from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, write_weights
from pcc.artifacts.provenance import write_provenance
from pcc.data.manifest import Manifest, Record
from pcc.runtime.errors import call_with
from pcc.runtime.files import digest, partial_path, publish, resumable_directory, write_json
from pcc.runtime.hardware import Precision, device
from pcc.training.batches import loader_processes
from pcc.training.checkpoints import LOSSES
from pcc.training.loop import Phase, Recipe, fit
from pcc.training.samples import Augmentation, TrainingSamples


def train_to(
    output: Path,
    model: nn.Module,
    description: Mapping[str, Any],
    *,
    manifest: Path,
    records: Sequence[Record],
    masks: Mapping[str, Path] | None,
    training: Mapping[str, Any],
    inputs: Sequence[Path],
    seed: int,
    threads: int,
    code: str,
    score: Callable[[str], float] | None = None,
) -> None:
    """Train ``model`` and write weights, description, losses, TensorBoard and provenance into ``output``.

    A killed run leaves its checkpoint in a hidden sibling of ``output`` and is taken up from there.

    Args:
        output: folder of the artifact.
        model: a classifier, a segmenter or a boundary network.
        description: what `load_classifier` or `load_segmenter` needs to build it again.
        manifest: path of the manifest.
        records: training images.
        masks: mask file by image id, for segmenters.
        training: ``image_size``, ``augmentation``, ``phases`` and the settings of `Recipe`.
        inputs: files the result depends on.
        seed: of everything random.
        threads: CPU threads; where there are several, as many processes load images beside them.
        code: fingerprint of the stage's code.
        score: see `fit`.
    """
    started = time.monotonic()
    settings = {**description, "training": training, "seed": seed}
    samples, recipe = call_with(
        _plan,
        dict(training),
        "training",
        manifest=Manifest.read(manifest),
        records=records,
        masks=masks,
        seed=seed,
    )
    key = {"settings": settings, "inputs": {str(p): digest(p) for p in inputs}, "code": code}
    train = partial(fit, model, samples, recipe, seed=seed, workers=loader_processes(threads), score=score)
    processes = PartialState(cpu=device() == "cpu")
    if not processes.is_main_process:
        processes.wait_for_everyone()  # the main process prepares the folder, and later writes what is in it
        train(work=partial_path(output))
        return
    with resumable_directory(output, key) as work:
        processes.wait_for_everyone()
        train(work=work)
        write_weights(output / WEIGHTS, model.state_dict())
        write_json(output / DESCRIPTION, description)
        write_provenance(
            output / "provenance.json",
            settings=settings,
            inputs=inputs,
            started=started,
            code=code,
            seed=seed,
        )
        for made in (work / "tensorboard", work / LOSSES):
            if made.exists():  # a run killed right here has moved some already
                publish(made, output / made.name)


def _plan(
    *,
    manifest: Manifest,
    records: Sequence[Record],
    masks: Mapping[str, Path] | None,
    seed: int,
    image_size: int,
    phases: Sequence[Mapping[str, Any]],
    batch_size: int,
    augmentation: Mapping[str, Any] | None = None,
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    precision: Precision = "no",
    checkpoint_every: int = 200,
    cache_features: bool = False,
) -> tuple[TrainingSamples, Recipe]:
    how = call_with(Augmentation, augmentation or {}, "training.augmentation")
    stretches = [call_with(Phase, phase, f"training.phases[{i}]") for i, phase in enumerate(phases)]
    recipe = Recipe(
        stretches,
        batch_size,
        optimizer,
        weight_decay,
        momentum,
        clip_norm,
        precision,
        checkpoint_every,
        cache_features,
    )
    return TrainingSamples(manifest, records, image_size, how, seed, masks), recipe
