"""Contact sheet of a step: worst, best and a fixed random selection of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from pcc.artifacts.maps import Maps
from pcc.artifacts.masks import read_mask
from pcc.configuration import CHAIN
from pcc.data.images import read_image
from pcc.data.manifest import Record
from pcc.figures.pictures import ERRORS, Row, class_legend, contact_sheet, errors, heat, overlay
from pcc.ids import BACKGROUND
from pcc.maps import resize
from pcc.scoring.counting import Item, Scoring, predicted_mask, read_items

RESULT = {"maps": "argmax of the maps", "pseudo_masks": "pseudo mask", "predictions": "prediction"}


def contact_sheet_of(
    scoring: Scoring,
    inputs: Sequence[Path],
    records: Sequence[Record],
    classes: Sequence[str],
    result: Mapping[str, Any],
    scores: Mapping[str, float],
    count: int,
) -> Figure:
    """Image, strongest map, result, ground truth and errors of a few images.

    Args:
        scoring: settings of the counting.
        inputs: files of maps or folders of masks.
        records: candidate images.
        classes: foreground names.
        result: metrics, for the title.
        scores: mean IoU by image id; empty if not scored.
        count: number of images.
    """
    chosen = choose([record.image_id for record in records], scores, count)
    found = {r.image_id: (r, output) for r, output in read_items(scoring.kind, inputs, records) if r.image_id in chosen}
    seen: set[int] = set()
    rows = [row_of(scoring, found[i], chosen[i], seen) for i in chosen if i in found]
    columns = ["image", *(["strongest map"] if scoring.kind == "maps" else []), RESULT[scoring.kind]]
    legend = class_legend((BACKGROUND, *classes), sorted(seen))
    if scores:
        columns += ["ground truth", "errors"]
        legend |= {f"error: {kind}": colour for kind, colour in ERRORS.items() if kind != "ignored"}
    return contact_sheet(
        rows, columns, legend, title_of(result), "maximum over foreground" if scoring.kind == "maps" else None
    )


def choose(image_ids: Sequence[str], scores: Mapping[str, float], count: int) -> dict[str, str]:
    """Image id → caption: the worst, a random selection with a fixed seed in order of IoU, and the best."""
    ranked = sorted((i for i in image_ids if not np.isnan(scores.get(i, 0))), key=lambda i: (scores.get(i, 0), i))
    if scores and len(ranked) > 2:
        middle = np.random.default_rng(0).permutation(np.arange(1, len(ranked) - 1))[: max(0, count - 2)]
        ranked = [ranked[0], *(ranked[i] for i in sorted(middle.tolist())), ranked[-1]]
    elif not scores:
        drawn = np.random.default_rng(0).permutation(len(ranked))[:count]
        ranked = [ranked[i] for i in sorted(drawn.tolist())]
    labels = {i: f"{i}    IoU {100 * scores[i]:.1f} %" if i in scores else i for i in ranked}
    if scores and len(ranked) > 1:
        labels[ranked[0]] += "    worst image"
        labels[ranked[-1]] += "    best image"
    return labels


def row_of(scoring: Scoring, item: Item, label: str, seen: set[int]) -> Row:
    """Panels of one image; their class ids are added to ``seen``."""
    record, output = item
    image, mask = read_image(record.image), predicted_mask(scoring.kind, output)
    shown = mask if isinstance(output, Maps) else read_mask(output)
    cells = [image, *([heat(image, strongest(output))] if isinstance(output, Maps) else []), overlay(image, shown)]
    seen.update(np.unique(shown).tolist())
    if record.mask is not None and record.scored:
        truth = read_mask(record.mask)
        cells += [overlay(image, truth), errors(image, mask, truth)]
        seen.update(np.unique(truth).tolist())
    return Row(label, tuple(cells))


def strongest(maps: Maps) -> Float[np.ndarray, "H W"]:
    """Maximum over the foreground maps at image size; zero without labels."""
    foreground = [channel for channel, class_id in enumerate(maps.classes) if class_id > 0]
    if not foreground:
        return np.zeros(maps.size, dtype=np.float32)
    return resize(maps.values[None, foreground], maps.size)[0].amax(dim=0).numpy()


def title_of(result: Mapping[str, Any]) -> str:
    """Experiment, step, split and mIoU."""
    chosen = result["experiment"]
    steps = [chosen.get(k) for k in CHAIN]
    chain = " / ".join(str(step) for step in steps if step) or "?"
    if chosen.get("supervision") == "masks":
        chain = f"fully supervised / {chain}"
    score = "not scored" if result["mean_iou"] is None else f"mIoU {100 * result['mean_iou']:.1f} %"
    kind = result["kind"].replace("_", " ")
    return f"{chosen.get('dataset', '')}: {chain}, seed {chosen.get('seed')}\n{kind} on {result['split']}, {score}"
