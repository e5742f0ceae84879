"""Tool `inspect`: any artifact of a run → one picture of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from pcc.artifacts.losses import LOSS_COLUMNS
from pcc.artifacts.maps import Maps, read_maps
from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest, Record
from pcc.figures import charts
from pcc.figures.canvas import save
from pcc.figures.pictures import Row, class_legend, contact_sheet, heat, heat_maps, overlay
from pcc.ids import BACKGROUND
from pcc.maps import resize
from pcc.reporting.own_tables import LOSSES, read_own
from pcc.reporting.partitions import clusters_figure
from pcc.reporting.sheets import strongest, title_of
from pcc.reporting.tables import read_metrics
from pcc.results import data_above
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json
from pcc.runtime.ownership import check_unchanged
from pcc.runtime.progress import log

KNOWN = "clusters.json, metrics.json, losses.csv, maps (.safetensors), masks (.png or a folder of them)"


@dataclass(frozen=True)
class Shown:
    """What is asked for.

    Attributes:
        path: the artifact.
        image_id: the one image to show, or None for a contact sheet.
        manifest: manifest.csv, or None to look for it.
        images: how many on a contact sheet.
    """

    path: Path
    image_id: str | None
    manifest: Path | None
    images: int


def inspect(
    artifact: Path, output: Path, *, image_id: str | None = None, manifest: Path | None = None, images: int = 8
) -> None:
    """Draw an artifact.

    Args:
        artifact: clusters.json, metrics.json, losses.csv, a shard of maps, a mask, a folder of masks, or a folder of
            such.
        output: the picture to write, PNG or JPEG.
        image_id: one image of maps or masks, drawn large; without it, a contact sheet of the first ones.
        manifest: the data set's manifest.csv; without it, looked for above the artifact, at ``data/manifest.csv``.
        images: how many images a contact sheet shows.

    Raises:
        InputError: no such file, not an artifact, no such image, or no manifest.
    """
    if not artifact.exists():
        raise InputError(f"{artifact}: no such file or folder; name one of {KNOWN}")
    path = artifact_in(artifact, image_id)
    check_unchanged(path)
    save(_drawing(path)(Shown(path, image_id, manifest, images)), output)
    log.info("%s → %s", path, output)


def artifact_in(path: Path, image_id: str | None = None) -> Path:
    """The path itself; of a folder of other artifacts, the first, or the shard that holds the image."""
    named = [p for name in ("clusters.json", "metrics.json", "losses.csv") if (p := path / name).is_file()]
    if path.is_file() or (any(path.glob("*.png")) and not named):
        return path
    shards = sorted(p for p in path.glob("*.safetensors") if p.name != "weights.safetensors")
    shards += sorted({mask.parent for mask in path.glob("*/*.png")})
    if not (inside := [*named, *shards]):
        raise InputError(f"{path}: nothing to draw in this folder; name one of {KNOWN}")
    return next((shard for shard in shards if image_id in set(_image_ids(shard))), inside[0])


def _image_ids(shard: Path) -> Iterator[str]:
    return (mask.stem for mask in sorted(shard.glob("*.png"))) if shard.is_dir() else (i for i, _ in read_maps(shard))


def _drawing(path: Path) -> Callable[[Shown], Figure]:
    if path.is_dir() or path.suffix == ".png":
        return _draw_masks
    if path.suffix == ".safetensors":
        return _draw_maps
    if path.suffix == ".csv" and path.read_text(encoding="utf-8").startswith("phase,"):
        return _draw_losses
    if path.suffix == ".json":
        stored = read_json(path)
        keys = stored if isinstance(stored, dict) else {}
        if "confusion_matrix" in keys:
            return _draw_metrics
        if "clusters" in keys:
            return _draw_clusters
    raise InputError(f"{path}: not an artifact that can be drawn; name one of {KNOWN}")


def _draw_clusters(shown: Shown) -> Figure:
    return clusters_figure(shown.path)


def _draw_metrics(shown: Shown) -> Figure:
    stored = read_metrics(shown.path)
    return charts.confusion(stored["confusion_matrix"], stored["classes"], title_of(stored))


def _draw_losses(shown: Shown) -> Figure:
    table = read_own(shown.path, LOSSES, "pcc train")
    named = [c for c in table.columns if c not in LOSS_COLUMNS]
    lines: dict[str, charts.Line] = {
        c: (table["step"][table[c].notna()].to_numpy(), table[c].dropna().to_numpy()) for c in named
    }
    panels: dict[str, dict[str, charts.Line]] = {
        "sum of all losses": {
            str(phase): (rows["step"].to_numpy(), rows["loss"].to_numpy())
            for phase, rows in table.groupby("phase", sort=False)
        },
        "by name": lines,
        "learning rate": {"lr": (table["step"].to_numpy(), table["lr"].to_numpy())},
    }
    return charts.curves(panels, f"Training of {'/'.join(shown.path.parts[-4:-1])}")


def _draw_maps(shown: Shown) -> Figure:
    data = Manifest.read(find_manifest(shown))
    names, records = (BACKGROUND, *data.dataset.classes), {r.image_id: r for r in data.records}
    if shown.image_id is not None:
        found = next((maps for image_id, maps in read_maps(shown.path) if image_id == shown.image_id), None)
        if found is None:
            raise InputError(f"{shown.path}: holds no image {shown.image_id}; {_examples(shown.path)}")
        channels = _full_size(found)
        image = read_image(_record(records, shown.image_id).image)
        named = {names[c]: channels[i] for i, c in enumerate(found.classes)}
        return heat_maps(image, named, f"Maps of {shown.image_id}")
    rows = []
    for image_id, maps in islice(read_maps(shown.path), shown.images):
        image = read_image(_record(records, image_id).image)
        best = np.asarray(maps.classes, dtype=np.uint8)[_full_size(maps).argmax(axis=0)]
        label = f"{image_id}    {', '.join(names[c] for c in maps.classes if c > 0)}"
        rows.append((label, (image, heat(image, strongest(maps)), overlay(image, best)), best))
    return _sheet(rows, ["image", "strongest map", "argmax of the maps"], names, shown, "largest foreground value")


def _full_size(maps: Maps) -> np.ndarray:
    return resize(maps.values[None], maps.size)[0].numpy()


def _draw_masks(shown: Shown) -> Figure:
    data = Manifest.read(find_manifest(shown))
    names, records = (BACKGROUND, *data.dataset.classes), {r.image_id: r for r in data.records}
    files = [shown.path] if shown.path.is_file() else sorted(shown.path.glob("*.png"))
    if shown.image_id is not None:
        files = [file for file in files if file.stem == shown.image_id]
        if not files:
            raise InputError(f"{shown.path}: holds no mask of {shown.image_id}; {_examples(shown.path)}")
    files = files[: shown.images]
    true = {file: records[file.stem].mask if file.stem in records else None for file in files}
    with_truth = all(mask is not None and mask.resolve() != file.resolve() for file, mask in true.items())
    rows = []
    for file in files:
        record, mask = _record(records, file.stem), read_mask(file)
        image = read_image(record.image)
        if image.shape[:2] != mask.shape:
            raise InputError(f"{file}: mask is {mask.shape} but its image is {image.shape[:2]} (height, width)")
        masks = [mask, *([read_mask(record.mask)] if with_truth and record.mask else [])]
        cells = (image, *(overlay(image, each) for each in masks))
        label = f"{file.stem}    {', '.join(record.labels)}"
        rows.append((label, cells, np.concatenate([each.ravel() for each in masks])))
    return _sheet(rows, ["image", "mask", *(["truth"] if with_truth else [])], names, shown, None)


def _sheet(
    rows: Sequence[tuple[str, tuple[UInt8[np.ndarray, "_ _ 3"], ...], UInt8[np.ndarray, "..."]]],
    columns: Sequence[str],
    names: Sequence[str],
    shown: Shown,
    scale: str | None,
) -> Figure:
    ids = sorted({int(i) for _, _, mask in rows for i in np.unique(mask)})
    title = "/".join(shown.path.parts[-3:])
    pictures = [Row(label, cells) for label, cells, _ in rows]
    return contact_sheet(pictures, columns, class_legend(names, ids), title, scale, zoom=2.0 if len(rows) == 1 else 1.0)


def find_manifest(shown: Shown) -> Path:
    """The manifest given, or ``data/manifest.csv`` in the nearest folder above the artifact."""
    if shown.manifest is not None:
        return shown.manifest
    if found := data_above(shown.path, "manifest.csv"):
        return found
    raise InputError(f"{shown.path}: no data/manifest.csv in a folder above it; name it with --manifest")


def _record(records: dict[str, Record], image_id: str) -> Record:
    if image_id not in records:
        raise InputError(f"image {image_id} is not in the manifest; give the manifest it belongs to with --manifest")
    return records[image_id]


def _examples(shard: Path) -> str:
    return f"it starts with {', '.join(islice(_image_ids(shard), 3)) or 'nothing: it is empty'}"
