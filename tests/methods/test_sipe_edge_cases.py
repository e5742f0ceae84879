"""Batches that break SIPE's reference: no evidence, no label, tiny and long images, padding (sipe.md §11).

Losses and maps against the specification written out cell by cell, in double precision.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from pcc.localizations.iscam import Localization
from pcc.methods.sipe import SIPE
from pcc.refine.argmax import refine as argmax
from pcc.trainable import Batch

RESNET = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}
EPSILON = 1e-5


def sipe(**settings: Any) -> SIPE:
    torch.manual_seed(0)
    return SIPE(list("abc"), [], **{"backbone": RESNET, "side_channels": (4, 4, 8, 8), **settings}).eval()


def image_specific(logits: Tensor, query: Tensor, features: Tensor, present: list[bool], inside: list[bool]):
    """§2-3 for one image, its cells in a row: general maps before and after masking, and rectified cosines.

    Args:
        logits: K x N.
        query: D x N, what cells are compared by.
        features: E x N, what prototypes are made of.
        present: by class.
        inside: by cell.
    """
    classes, cells = range(len(logits)), range(logits.shape[1])
    maps = [[0.0] * len(cells)]
    for k in classes:
        peak = max(max(0.0, logits[k, i].item()) for i in cells)
        maps.append([max(0.0, logits[k, i].item()) / (peak + EPSILON) for i in cells])
    maps[0] = [1 - max(maps[k + 1][i] for k in classes) for i in cells]
    allowed = [True, *present]
    masked = [[maps[c][i] if allowed[c] and inside[i] else 0.0 for i in cells] for c in range(len(classes) + 1)]
    unit = query / (query.norm(dim=0, keepdim=True) + EPSILON)
    sums = [torch.zeros_like(features[:, 0]) for _ in allowed]
    for i in cells:
        like = [max(0.0, (unit[:, i] @ unit[:, j]).item()) for j in cells]
        overlaps = []
        for c in range(len(allowed)):
            common = sum(s * a for s, a in zip(like, masked[c], strict=True))
            overlap = common / (sum(like) + sum(masked[c]) - common + EPSILON)
            overlaps.append(overlap * (0.5 if c == 0 else 1))
        winner = overlaps.index(max(overlaps))
        if allowed[winner] and inside[i]:
            sums[winner] += features[:, i]
    specific = [
        [
            max(0.0, (features[:, i] @ p).item() / (features[:, i].norm() * p.norm()).item()) if p.norm() > 0 else 0.0
            for i in cells
        ]
        for p in sums
    ]
    return torch.tensor(masked), torch.tensor(specific)


def slow_losses(method: SIPE, batch: Batch) -> tuple[float, float]:
    """§4, image by image."""
    taps = method.backbone.stages(batch.images, 4)
    logits, features = method.classifier(taps[-1]), method.encode(batch.images)
    size = logits.shape[-2:]
    inside = torch.ones(len(batch.images), *size, dtype=torch.bool)
    if batch.inside is not None:
        inside = torch.nn.functional.interpolate(batch.inside[:, None].double(), size)[:, 0].bool()
    classification, differences = [], []
    for n in range(len(batch.images)):
        for k in range(3):
            p, y = torch.sigmoid(logits[n, k].mean()).item(), batch.labels[n, k].item()
            classification.append(-(y * math.log(p) + (1 - y) * math.log(1 - p)))
        present = [bool(y) for y in batch.labels[n]]
        maps, specific = image_specific(
            *(t[n].detach().double().flatten(1) for t in (logits, taps[-1], features)),
            present,
            inside[n].flatten().tolist(),
        )
        peaks = specific.amax(dim=1, keepdim=True)
        differences.append((maps - specific / (peaks + EPSILON)).abs())
    return sum(classification) / len(classification), torch.stack(differences).mean().item()


def given(height: int = 64, width: int = 64, labels: Tensor | None = None, **changes: Any) -> Batch:
    torch.manual_seed(1)
    images = torch.rand(2, 3, height, width)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]]) if labels is None else labels
    return Batch(images, labels)._replace(**changes)


def half_padding() -> Tensor:
    inside = torch.ones(2, 64, 64, dtype=torch.uint8)
    inside[0, 20:], inside[1] = 0, 0
    return inside


@pytest.mark.parametrize(
    "batch",
    [
        given(),
        given(9, 7),
        given(40, 560),
        given(labels=torch.zeros(2, 3)),
        given(labels=torch.tensor([[0.0, 0, 0], [1, 1, 1]])),
        given(images=torch.zeros(2, 3, 64, 64)),
        given(inside=half_padding()),
    ],
    ids=["plain", "smaller than the stride", "longer than 512", "no label", "one without", "black", "padding"],
)
@pytest.mark.parametrize("evidence", ["some", "none"])
def test_losses_are_the_specification_s(batch: Batch, evidence: str) -> None:
    method = sipe()
    if evidence == "none":  # features of a rectified network are not negative, so every CAM is zero
        method.classifier.weight.data.abs_().neg_()
    losses = method.losses(batch, "main")
    classification, consistency = slow_losses(method, batch)
    assert losses["classification"].item() == pytest.approx(classification, rel=1e-5)
    assert losses["consistency"].item() == pytest.approx(consistency, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("size", [(64, 64), (9, 7), (40, 560)])
def test_an_image_does_not_know_its_neighbours(size: tuple[int, int]) -> None:
    """Each image of a batch gets the maps it gets alone, beside one with no evidence and one with no label."""
    localize = Localization(sipe(), scales=(1.0, 0.5))
    torch.manual_seed(1)
    images = torch.rand(3, 3, *size)
    images[1] = 0
    labels = torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 0, 0]])
    together = localize(images, labels)
    alone = torch.cat([localize(i[None], y[None]) for i, y in zip(images, labels, strict=True)])
    torch.testing.assert_close(together, alone)
    assert (together[:, 1:][labels == 0] == 0).all()


def test_maps_of_one_cell_are_known() -> None:
    """Smaller than the stride: the class with evidence takes the cell, and leaves nothing for the background."""
    method = sipe(background_from="present")
    method.classifier.weight.data.abs_()
    method.classifier.weight.data[1].neg_()
    maps = Localization(method)(*given(9, 7, labels=torch.tensor([[1.0, 0, 0], [0, 1, 0]]))[:2])[:, :, 0, 0]
    expected = [[0.0, 1, 0, 0], [1, 0, 0, 0]]  # the second image's class has no evidence
    torch.testing.assert_close(maps, torch.tensor(expected), atol=1e-4, rtol=0)


def test_without_evidence_or_label_everything_is_background() -> None:
    method = sipe(background_from="present")
    method.classifier.weight.data.abs_().neg_()
    batch = given(labels=torch.tensor([[1.0, 0, 1], [0, 0, 0]]))
    maps = Localization(method)(batch.images, batch.labels)
    assert (maps[:, 1:] == 0).all()
    assert maps[:, 0].amax(dim=(1, 2)).tolist() == pytest.approx([1, 1], abs=1e-4)
    image = (255 * batch.images[0]).byte().permute(1, 2, 0).numpy()
    assert (argmax(image, maps[0]) == 0).all() and (argmax(image, maps[1, :1]) == 0).all()
