"""A shard of tensors by image, made batch by batch: what a killed run has finished is not computed again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.runtime.files import resumable_directory
from pcc.runtime.progress import track

B = TypeVar("B")


def write_shard(
    output: Path,
    key: dict[str, Any],
    batches: Sequence[B],
    compute: Callable[[B], Mapping[str, Maps]],
    order: Iterable[str],
    description: str,
) -> None:
    """Compute every batch that is not there yet, then write them as one file.

    Args:
        output: the shard.
        key: everything the content depends on.
        batches: in a fixed order.
        compute: maps by image id of one batch.
        order: image ids as the shard shall have them.
        description: for the progress.
    """
    with resumable_directory(output, key) as work:
        parts = [work / f"{number:06d}.safetensors" for number in range(len(batches))]
        for part, batch in track(list(zip(parts, batches, strict=True)), description):
            if not part.exists():
                write_maps(part, compute(batch))
        found = {image_id: maps for part in parts for image_id, maps in read_maps(part)}
        write_maps(output, {image_id: found[image_id] for image_id in order})
