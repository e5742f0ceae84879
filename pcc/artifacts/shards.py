"""Write a shard batch by batch; a rerun resumes after the last finished batch."""

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
    """Compute the missing batches, then write one file.

    Args:
        output: shard file.
        key: everything that the content depends on.
        batches: batches in a fixed order.
        compute: function from a batch to maps by image id.
        order: image ids in the order of the shard.
        description: text of the progress bar.
    """
    with resumable_directory(output, key) as work:
        parts = [work / f"{number:06d}.safetensors" for number in range(len(batches))]
        for part, batch in track(list(zip(parts, batches, strict=True)), description):
            if not part.exists():
                write_maps(part, compute(batch))
        found = {image_id: maps for part in parts for image_id, maps in read_maps(part)}
        write_maps(output, {image_id: found[image_id] for image_id in order})
