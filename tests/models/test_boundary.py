"""The boundary network of the random walk: its loss against pairs written out, its predictions against symmetry."""

import itertools
import math

import pytest
import torch

from pcc.models.boundary import BoundaryNetwork, pair_loss
from pcc.trainable import Batch

RESNET = {"name": "test_resnet", "settings": {"output_stride": 16}, "dilate": False}


def network(**settings: object) -> BoundaryNetwork:
    torch.manual_seed(0)
    return BoundaryNetwork(RESNET, **{"width": 4, "radius": 4, **settings})


def slow_pair_loss(boundary: torch.Tensor, labels: torch.Tensor, radius: int) -> float:
    """IRN's loss, pair by pair (sipe.md §7.2)."""
    costs: dict[str, list[float]] = {"background": [], "class": [], "different": []}
    height, width = boundary.shape[1:]
    cells = list(itertools.product(range(height), range(width)))
    for image, edge in zip(labels, boundary, strict=True):
        for (y1, x1), (y2, x2) in itertools.combinations(cells, 2):
            length = math.hypot(y2 - y1, x2 - x1)
            if length >= radius or 255 in (image[y1, x1], image[y2, x2]):
                continue
            box = itertools.product(range(min(y1, y2), max(y1, y2) + 1), range(min(x1, x2), max(x1, x2) + 1))
            way = [
                (y, x) for y, x in box
                if abs((y2 - y1) * (x - x1) - (x2 - x1) * (y - y1)) / length < 1 - 1e-9
            ]  # fmt: skip
            affinity = 1 - max(edge[y, x].item() for y, x in way)
            if image[y1, x1] != image[y2, x2]:
                costs["different"].append(-math.log(1 + 1e-5 - affinity))
            else:
                kind = "background" if image[y1, x1] == 0 else "class"
                costs[kind].append(-math.log(affinity + 1e-5))
    means = {kind: sum(values) / (len(values) + 1e-5) for kind, values in costs.items()}
    return ((means["background"] + means["class"]) / 2 + means["different"]) / 2


@pytest.mark.parametrize(("height", "width", "radius"), [(6, 7, 4), (3, 8, 5), (2, 2, 10)])
def test_loss_against_all_pairs(height: int, width: int, radius: int) -> None:
    generator = torch.Generator().manual_seed(0)
    boundary = torch.rand(2, height, width, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (2, height, width), generator=generator).to(torch.uint8)
    labels[0, 0, 0] = 255
    got = pair_loss(boundary, labels, radius)
    assert got.item() == pytest.approx(slow_pair_loss(boundary, labels, radius), rel=1e-9)


def test_nothing_known_costs_nothing() -> None:
    boundary = torch.rand(1, 5, 5, requires_grad=True)
    loss = pair_loss(boundary, torch.full((1, 5, 5), 255, dtype=torch.uint8), 4)
    loss.backward()
    assert loss == 0 and torch.isfinite(boundary.grad).all()


def test_the_right_boundary_is_cheaper_than_none_or_everywhere() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[:, :, 4:] = 2
    right = torch.full((1, 8, 8), 0.01)
    right[:, :, 3:5] = 0.99
    costs = [
        pair_loss(b, labels, 4).item() for b in (right, torch.full_like(right, 0.01), torch.full_like(right, 0.99))
    ]
    assert costs[0] < min(costs[1:])


def test_only_the_head_learns_and_it_does() -> None:
    """Two colours side by side: after some steps the boundary is where they meet."""
    model = network(width=8).train()
    images = torch.zeros(1, 3, 64, 64)
    images[:, 0, :, :32], images[:, 1, :, 32:] = 1, 1
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[:, :, 32:] = 1
    batch = Batch(torch.cat([images, images.flip(-1)]), torch.ones(2, 1), torch.cat([masks, masks.flip(-1)]))
    (group,) = model.parameter_groups("main")
    before = {name: p.clone() for name, p in model.backbone.named_parameters()}
    optimizer = torch.optim.Adam(group.parameters, 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        model.losses(batch, "main")["affinity"].backward()
        optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in model.backbone.named_parameters())
    edge = model.eval().predict(images[0])
    # Not near 1: a cell at the boundary is also the end of pairs within its own class.
    assert edge[:, 7:9].amax(dim=1).min() > 20 * edge[:, [1, 2, 3, 12, 13, 14]].max()


@pytest.mark.parametrize("size", [(5, 9), (64, 64), (375, 500), (40, 600)])
def test_predictions_have_a_quarter_of_the_images_size(size: tuple[int, int]) -> None:
    """Smaller than the stride, and larger than the 512 that the reference cuts off at (pitfall P4)."""
    edge = network().eval().predict(torch.rand(3, *size))
    assert edge.shape == (-(-size[0] // 4), -(-size[1] // 4))
    assert torch.isfinite(edge).all() and edge.min() >= 0 and edge.max() <= 1


def test_mirrored_in_mirrored_out() -> None:
    model, image = network().eval(), torch.rand(3, 32, 48)
    torch.testing.assert_close(model.predict(image.flip(-1)), model.predict(image).flip(-1), atol=1e-5, rtol=0)


def test_what_lies_beyond_512_pixels_is_seen_and_stays_in_place() -> None:
    """A side that needs no padding: the prediction is the network's own, at every cell (pitfall P4)."""
    model, image = network().eval(), torch.rand(3, 48, 608)
    whole = [model(view[None])[0] for view in (image, image.flip(-1))]
    torch.testing.assert_close(
        model.predict(image), torch.sigmoid((whole[0] + whole[1].flip(-1)) / 2), atol=1e-5, rtol=0
    )
    other = image.clone()
    other[:, :, 560:] = 0
    assert (model.predict(other) - model.predict(image))[:, 140:].abs().max() > 1e-3
