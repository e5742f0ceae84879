"""Real COCO 2014 images and their official annotations."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from pcc.artifacts.masks import read_mask
from pcc.data.images import read_image
from pcc.data.manifest import Manifest
from pcc.stages.prepare import prepare

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest) -> Path:
    folder = request.config.rootpath.parent / "shared" / "data" / "coco14_mini"
    if not folder.is_dir():
        pytest.skip("the COCO 2014 sample ../shared/data/coco14_mini is not here")
    return Path(os.path.relpath(folder))


@pytest.fixture(scope="module")
def manifest(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    output = tmp_path_factory.mktemp("coco")
    prepare(output, name="coco14", format="coco", settings={"root": str(root)}, shards={"train": 2}, threads=2)
    return Manifest.read(output / "manifest.csv")


def test_classes_and_taxonomy_are_the_published_ones(manifest: Manifest, request: pytest.FixtureRequest) -> None:
    stored = yaml.safe_load((request.config.rootpath / "resources" / "coco14.yaml").read_text())
    assert manifest.dataset.classes == tuple(stored["classes"])
    assert manifest.dataset.taxonomy == {group: tuple(names) for group, names in stored["taxonomy"].items()}
    assert (manifest.dataset.num_classes, len(manifest.select("train")), len(manifest.select("val"))) == (81, 60, 60)


def test_masks_agree_with_the_official_interface(manifest: Manifest, root: Path) -> None:
    official = COCO(str(root / "annotations" / "instances_val2014.json"))
    class_ids = {number: index for index, number in enumerate(sorted(official.getCatIds()), 1)}
    by_name = {image["file_name"]: image for image in official.dataset["images"]}
    crowds = 0
    for record in manifest.select("val"):
        image = by_name[record.image.name]
        annotations = official.imgToAnns[image["id"]]
        assert set(manifest.class_ids(record)) == {class_ids[a["category_id"]] for a in annotations}
        assert record.mask is not None
        mask = read_mask(record.mask)
        assert mask.shape == (image["height"], image["width"]) == read_image(record.image).shape[:2]
        covered = np.zeros(mask.shape, np.int64)
        for annotation in annotations:
            crowds += annotation["iscrowd"]
            covered += official.annToMask(annotation)
        np.testing.assert_array_equal(mask == 0, covered == 0)
        for annotation in annotations:
            alone = (official.annToMask(annotation) == 1) & (covered == 1)
            assert (mask[alone] == class_ids[annotation["category_id"]]).all()
    assert crowds == 5
