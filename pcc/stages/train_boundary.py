"""Train the boundary network of the random walk on confident pseudo masks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pcc.data.manifest import Manifest, manifest_files
from pcc.models.boundary import BoundaryNetwork
from pcc.runtime.errors import call_with
from pcc.runtime.settings import SettingsOf
from pcc.runtime.stage import stage
from pcc.training.masks import pseudo_masks_of, train_on_masks
from pcc.training.run import TrainingSettings


@stage(writes="inside")
def train_boundary(
    manifest: Path,
    masks: Sequence[Path],
    output: Path,
    *,
    model: Annotated[dict[str, Any], SettingsOf("pcc.models.boundary:BoundaryNetwork")],
    training: TrainingSettings,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Train on pseudo masks with uncertain pixels ignored (255).

    Args:
        manifest: manifest.csv.
        masks: folders of pseudo masks, one per shard; published: refinement `confident`.
        output: folder of weights.safetensors, model.json, losses.csv, tensorboard/, provenance.json.
        model: settings of `BoundaryNetwork`.
        training: settings of `pcc.training.run.Training`.
        seed: seed of initial weights, order and augmentation.
        threads: CPU threads.
    """
    data = Manifest.read(manifest, unchanged=["image"])
    train_on_masks(
        output,
        partial(call_with, BoundaryNetwork, model, "boundary.model"),
        {"type": "boundary", "model": model},
        data=data,
        masks=pseudo_masks_of(data.select(split="train"), masks),
        training=training,
        inputs=[*manifest_files(manifest), *masks],
        seed=seed,
        threads=threads,
    )
