"""Train a network and write its artifact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from accelerate import PartialState

from pcc.artifacts.losses import LOSSES
from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, write_weights
from pcc.artifacts.provenance import Job
from pcc.data.manifest import Manifest, Record
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.files import partial_path, publish, resumable_directory, write_json
from pcc.runtime.hardware import device
from pcc.runtime.settings import Pixels, SettingsOf
from pcc.trainable import Trainable
from pcc.training.batches import loader_processes
from pcc.training.loop import Recipe, fit
from pcc.training.samples import Augmentation, TrainingSamples

TrainingSettings = Annotated[dict[str, Any], SettingsOf("pcc.training.run:Training")]


@dataclass(frozen=True, kw_only=True)
class Training(Recipe):
    """The ``training`` block of a configuration.

    Attributes:
        image_size: side of the square network input, pixels.
        augmentation: data augmentation.
    """

    image_size: Pixels
    augmentation: Augmentation | None = None


def train_to(
    output: Path,
    model: Trainable,
    description: Mapping[str, Any],
    *,
    data: Manifest,
    records: Sequence[Record],
    training: Mapping[str, Any],
    inputs: Sequence[Path],
    seed: int,
    threads: int,
    masks: Mapping[str, Path] | None = None,
    score: Callable[[str], float] | None = None,
) -> None:
    """Train ``model`` and write weights, description, losses, TensorBoard and provenance into ``output``.

    A killed run leaves its checkpoint in a hidden folder beside ``output``; a rerun resumes from it.

    Args:
        output: folder of the artifact.
        model: a method, a segmenter or a boundary network.
        description: written to model.json, to rebuild the network (`pcc.artifacts.networks`).
        data: the data set.
        records: training images.
        training: settings of `Training`.
        inputs: files that the result depends on.
        seed: seed of all randomness.
        threads: CPU threads; see `loader_processes`.
        masks: mask file by image id, for networks trained on masks.
        score: see `fit`.
    """
    settings = call_with(Training, training, "training")
    if not records:
        raise InputError(f"data set {data.dataset.name}: no training images; check its splits and labels")
    augmentation = settings.augmentation or Augmentation()
    samples = TrainingSamples(data, records, settings.image_size, augmentation, seed, masks)
    train = partial(fit, model, samples, settings, seed=seed, workers=loader_processes(threads), score=score)
    processes = PartialState(cpu=device() == "cpu")
    if not processes.is_main_process:
        processes.wait_for_everyone()  # the main process prepares and later writes the folder
        train(work=partial_path(output))
        return
    job = Job({**description, "training": training, "seed": seed}, inputs, seed=seed)
    with resumable_directory(output, job.key) as work:
        processes.wait_for_everyone()
        train(work=work)
        write_weights(output / WEIGHTS, model.state_dict())
        write_json(output / DESCRIPTION, description)
        for path in (work / "tensorboard", work / LOSSES):
            if path.exists():  # an interrupted run may have moved it already
                publish(path, output / path.name)
        job.write_provenance(output, [output / name for name in (WEIGHTS, DESCRIPTION, LOSSES)])
