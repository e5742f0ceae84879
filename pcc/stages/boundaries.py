"""Predict class boundaries of one shard of training images for the random walk."""

from pathlib import Path

import torch

from pcc.artifacts.maps import Maps
from pcc.artifacts.networks import DESCRIPTION, WEIGHTS, read_description, rebuilt, without_weights
from pcc.artifacts.provenance import Job
from pcc.artifacts.shards import write_shard
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record, manifest_files
from pcc.data.tensors import image_tensor
from pcc.models.boundary import BoundaryNetwork
from pcc.runtime.errors import call_with
from pcc.runtime.hardware import Precision, autocast, device
from pcc.runtime.stage import stage


@stage(writes="file")
def boundaries(manifest: Path, network: Path, output: Path, *, shard: str, precision: Precision = "no") -> None:
    """Write boundary probabilities at stride 4 as one-channel fp16 maps.

    Args:
        manifest: manifest.csv.
        network: folder of the trained boundary network.
        output: safetensors file of the shard; provenance is written beside it.
        shard: shard index within the training split.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 if supported.
    """
    job = Job(
        {"precision": precision}, [*manifest_files(manifest), network / WEIGHTS, network / DESCRIPTION], shard=shard
    )
    records = Manifest.read(manifest, "train", shard, unchanged=["image"]).records
    model = without_weights(read_description(network, "model")["model"])
    trained = rebuilt(lambda: call_with(BoundaryNetwork, model, "boundary.model"), network / WEIGHTS).to(device())

    def compute(record: Record) -> dict[str, Maps]:
        image = read_image(record.image)
        with torch.inference_mode(), autocast(precision):
            values = trained.predict(image_tensor(image).to(device()))[None].cpu()
        return {record.image_id: Maps((0,), values, (image.shape[0], image.shape[1]))}

    order = [record.image_id for record in records]
    write_shard(output, job.key, records, compute, order, f"boundaries {shard}")
    job.write_provenance(output)
