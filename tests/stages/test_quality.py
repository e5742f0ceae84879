"""quality.csv of a tiny run: what a user is told to look at, and what it is worth."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.artifacts.masks import read_mask, write_mask
from pcc.localizations import affinity, iscam
from pcc.localizations.cam import Localization
from pcc.methods.base import Method
from pcc.runtime.errors import InputError
from pcc.runtime.files import read_json
from pcc.stages.evaluate import evaluate
from pcc.stages.quality import quality
from pcc.trainable import Batch, ParameterGroup


def run(results: Any, **given: Any) -> pd.DataFrame:
    output = results.root / "quality.csv"
    maps, masks = results.shards("maps", ".safetensors"), results.shards("pseudo_masks")
    quality(results.manifest, maps, masks, output, **given)
    return pd.read_csv(output)


def test_a_row_for_each_tag_and_signs_within_bounds(results: Any) -> None:
    table = run(results, clusters=results.clusters)
    expected = [
        (r.image_id, name) for r in results.data.records for name in sorted(r.labels, key=("cat", "dog", "boat").index)
    ]
    assert list(zip(table["image_id"], table["class"], strict=True)) == expected
    assert table[["plain", "mirrored"]].isna().all().all(), "neither is there"
    told = table[["refined", "certainty", "usual_area"]]
    assert ((told >= 0) & (told <= 1)).all().all()
    assert table["confidence"].to_numpy() == pytest.approx(
        told[["refined", "certainty"]].mean(axis=1).to_numpy(), abs=1e-4
    )
    assert read_json(results.root / "quality.provenance.json")["inputs"]


def test_masks_that_keep_to_their_maps_are_trusted_more(results: Any) -> None:
    """Every second image gets the mask that its maps decide; its neighbours keep theirs, which are noise."""
    for shard, folder in zip(results.shards("maps", ".safetensors"), results.shards("pseudo_masks"), strict=True):
        for number, (image_id, maps) in enumerate(read_maps(shard)):
            if number % 2 == 0:
                best = np.array(maps.classes)[maps.values.argmax(0).numpy()].astype(np.uint8)
                write_mask(folder / f"{image_id}.png", np.kron(best, np.ones((4, 4), np.uint8)))
    table = run(results)
    number = table["image_id"].str[2:].astype(int)
    assert table["refined"][number % 2 == 0].min() > 0.99 > table["refined"][number % 2 == 1].max()


def test_agreements_stored_with_the_maps_are_shown(results: Any) -> None:
    for shard in results.shards("maps", ".safetensors"):
        alike = {i: {"mirrored": (0.25,) * len(m.classes)} for i, m in read_maps(shard)}
        write_maps(shard, {i: Maps(m.classes, m.values, m.size, alike[i]) for i, m in read_maps(shard)})
    table = run(results)
    assert (table["mirrored"] == 0.25).all() and table["plain"].isna().all()


def test_its_worth_is_scored_with_the_true_masks(results: Any) -> None:
    """Spearman and the share of errors against a loop over the images that may be scored."""
    table = run(results)
    output = results.root / "metrics.json"
    evaluate(
        results.manifest, results.shards("pseudo_masks"), output,
        kind="pseudo_masks", split="train", experiment={}, quality=results.root / "quality.csv",
    )  # fmt: skip
    images, confidence, iou, wrong = [], [], [], []
    scored = {r.image_id: r for r in results.data.records if r.scored}
    for row in table.itertuples():
        if row.image_id in scored:
            record = scored[row.image_id]
            truth = read_mask(record.mask)
            guess = read_mask(results.root / f"cam/seed-0/cam/pseudo_masks/{record.shard}/{row.image_id}.png")
            counted = truth != 255
            both = ((truth == row.class_id) & (guess == row.class_id) & counted).sum()
            either = (((truth == row.class_id) | (guess == row.class_id)) & counted).sum()
            images.append(row.image_id)
            confidence.append(row.confidence)
            iou.append(both / either)
            wrong.append(either - both)
    stored = read_json(output)["quality"]
    assert stored["masks"] == len(iou)
    assert stored["spearman"] == pytest.approx(spearmanr(confidence, iou).statistic)
    errors = pd.DataFrame({"image": images, "confidence": confidence, "wrong": wrong}).groupby("image")
    lowest = errors["confidence"].mean().nsmallest(round(len(errors) / 5)).index
    assert stored["errors_in_lowest_fifth"] == pytest.approx(errors["wrong"].sum()[lowest].sum() / sum(wrong))
    assert set(stored["spearman_by_sign"]) == {"refined", "certainty", "usual_area"}


def test_what_is_missing_is_said(results: Any) -> None:
    with pytest.raises(InputError, match="2 --maps and 1 --masks"):
        quality(
            results.manifest,
            results.shards("maps", ".safetensors"),
            results.shards("pseudo_masks")[:1],
            results.root / "quality.csv",
        )
    (results.shards("pseudo_masks")[0] / "im0.png").unlink()
    with pytest.raises(InputError, match=r"im0.png: mask is missing; rerun `pcc pseudo_masks`"):
        run(results)


class Columns(Method):
    """A method whose maps are the image's first two channels, the second weighted by column where ``slanted``."""

    def __init__(self, slanted: bool) -> None:
        super().__init__()
        self.slanted = slanted

    def raw_maps_and_features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ramp = torch.linspace(0, 1, images.shape[-1]) if self.slanted else torch.ones(images.shape[-1])
        return torch.stack([images[:, 0], images[:, 1] * ramp], dim=1), images

    def to_maps(self, raw_maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return raw_maps

    def parameter_groups(self, phase: str) -> list[ParameterGroup]:
        raise AssertionError("not trained here")

    def losses(self, batch: Batch, phase: str) -> dict[str, torch.Tensor]:
        raise AssertionError("not trained here")

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def is_encoder_frozen(self, phase: str) -> bool:
        return True


def test_maps_of_mirror_images_are_compared_class_by_class() -> None:
    image, labels = torch.rand(1, 3, 8, 8), torch.ones(1, 1)
    localizer = Localization(Columns(slanted=False))
    localizer(image, labels)
    assert localizer.agreements["mirrored"].tolist() == [[1, 1]]
    slanted = Localization(Columns(slanted=True))
    slanted(image, labels)
    ramp, values = torch.linspace(0, 1, 8), image[0, 1]
    lesser, greater = (pick(values * ramp, values * ramp.flip(0)).sum() for pick in (torch.minimum, torch.maximum))
    assert slanted.agreements["mirrored"][0].tolist() == pytest.approx([1, float(lesser / greater)])
    without = Localization(Columns(slanted=True), flip=False)
    without(image, labels)
    assert without.agreements == {}


@pytest.mark.parametrize("grouping", [affinity.Localization, iscam.Localization])
def test_grouped_maps_are_compared_with_plain_ones(grouping: Any) -> None:
    localizer = grouping(Columns(slanted=False), flip=False)
    image = torch.rand(2, 3, 8, 8)
    image[:, 0], image[:, 1] = image[:, 0].round(), 1 - image[:, 0].round()
    maps = localizer(image, torch.ones(2, 1))
    decided, plain = maps.argmax(1), image[:, :2].argmax(1)
    for number in range(2):
        for channel in range(2):
            one, other = decided[number] == channel, plain[number] == channel
            expected = float((one & other).sum() / (one | other).sum())
            assert localizer.agreements["plain"][number, channel] == pytest.approx(expected)
