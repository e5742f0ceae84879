"""Predict the class boundaries of one shard of training images, for the random walk."""

import time
from pathlib import Path

import torch

from pcc.artifacts.maps import Maps
from pcc.artifacts.networks import read_description, with_weights, without_weights
from pcc.artifacts.provenance import write_provenance
from pcc.artifacts.shards import write_shard
from pcc.data.images import image_size
from pcc.data.manifest import Manifest, Record
from pcc.data.tensors import image_tensor
from pcc.models.boundary import BoundaryNetwork
from pcc.runtime.errors import call_with
from pcc.runtime.files import digest
from pcc.runtime.hardware import Precision, autocast, device


def boundaries(
    manifest: Path,
    network: Path,
    output: Path,
    *,
    shard: str,
    precision: Precision = "no",
    threads: int = 1,  # noqa: ARG001 - every stage has it; torch was told
    code: str = "",
) -> None:
    """Write the probability of a boundary at every fourth pixel, fp16, as maps of one channel.

    Args:
        manifest: manifest.csv.
        network: folder of the trained boundary network.
        output: the shard's safetensors file, provenance beside it.
        shard: number of the shard within the training split.
        precision: ``no`` (fp32), ``bf16``, ``fp16``, or ``auto``: bf16 where the hardware has it.
        threads: CPU threads.
        code: fingerprint of the stage's code.
    """
    started = time.monotonic()
    records = Manifest.read(manifest, "train", shard).records
    model = without_weights(read_description(network)["model"])
    trained = with_weights(call_with(BoundaryNetwork, model, "boundary.model"), network).to(device())
    inputs = [manifest, network / "weights.safetensors", network / "model.json"]
    key = {
        "settings": {"precision": precision},
        "inputs": {str(p): digest(p) for p in inputs},
        "code": code,
        "shard": shard,
    }

    def compute(record: Record) -> dict[str, Maps]:
        with torch.inference_mode(), autocast(precision):
            values = trained.predict(image_tensor(record.image).to(device()))[None].cpu()
        return {record.image_id: Maps((0,), values, image_size(record.image))}

    order = [record.image_id for record in records]
    write_shard(output, key, records, compute, order, f"boundaries {shard}")
    write_provenance(
        output.with_suffix(".provenance.json"),
        settings={"precision": precision},
        inputs=inputs,
        started=started,
        code=code,
        shard=shard,
    )
