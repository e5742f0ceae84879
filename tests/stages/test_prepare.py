import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pcc.data.manifest import SPLITS, Manifest, Record
from pcc.runtime.errors import InputError
from pcc.runtime.files import digest
from pcc.stages.clusters import clusters
from pcc.stages.prepare import assign_shards, prepare

TAXONOMY = {"pets": ["cat", "dog"], "birds": ["bird"]}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """The configuration's slice for a folder of seven small images."""
    (tmp_path / "images").mkdir()
    rows = [f"{split}{i}.png,{tag},{split}" for i, tag in enumerate(("cat", "dog", "bird")) for split in SPLITS]
    rows.append("last.png,cat;bird,train")
    for row in rows:
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / row.split(",")[0])
    (tmp_path / "tags.csv").write_text("image,tags,split\n" + "\n".join(rows) + "\n")
    return {
        "name": "mine",
        "format": "folder",
        "settings": {
            "images": str(tmp_path / "images"),
            "tags": str(tmp_path / "tags.csv"),
            "split_column": "split",
            "taxonomy": TAXONOMY,
        },
        "shards": {"train": 2, "val": 1},
    }


def test_a_data_set_is_prepared(data: dict[str, Any], tmp_path: Path) -> None:
    prepare(tmp_path / "data", **data, eval_classes=["bird"], threads=2, code="c0de")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"manifest.csv", "dataset.json", "provenance.json"}
    manifest = Manifest.read(tmp_path / "data/manifest.csv")
    assert (manifest.dataset.name, manifest.dataset.eval_classes) == ("mine", ("bird",))
    assert manifest.dataset.classes == ("bird", "cat", "dog")
    assert [(r.image_id, r.split, r.shard) for r in manifest.records] == [
        ("train0", "train", "000"),
        ("val0", "val", "000"),
        ("train1", "train", "000"),
        ("val1", "val", "000"),
        ("train2", "train", "001"),
        ("val2", "val", "000"),
        ("last", "train", "001"),
    ]
    provenance = json.loads((tmp_path / "data/provenance.json").read_text())
    assert provenance["code"] == "c0de"
    assert provenance["settings"]["settings"] == data["settings"]
    assert provenance["inputs"] == {str(tmp_path / "tags.csv"): digest(tmp_path / "tags.csv")}


def test_preparing_twice_gives_the_same_bytes(data: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare(tmp_path / name, **data)
    for name in ("manifest.csv", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@given(st.lists(st.sampled_from(SPLITS), max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_shards_are_contiguous_and_even(splits: list[str], train: int, val: int) -> None:
    records = [Record(str(i), Path("a"), (), None, split) for i, split in enumerate(splits)]
    numbered = assign_shards(records, {"train": train, "val": val})
    assert [r.image_id for r in numbered] == [r.image_id for r in records]
    for split, count in {"train": train, "val": val}.items():
        shards = [r.shard for r in numbered if r.split == split]
        assert shards == sorted(shards)
        sizes = Counter(shards)
        if len(shards) >= count:
            assert set(sizes) == {f"{number:03d}" for number in range(count)}
            assert max(sizes.values()) - min(sizes.values()) <= 1


def test_problems_of_settings_and_of_data_come_together(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "images/val1.png").write_bytes(b"")
    data["shards"] = {"train": 0, "val": 9, "test": 1}
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / "data", **data, eval_classes=["brid"])
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "dataset.eval_classes: unknown class 'brid', did you mean 'bird'?",
        "dataset.shards.train: 0 is invalid",
        "dataset.shards.val: 9 shards for 3 images",
        "dataset.shards: 'test' is not one of train, val",
        f"{tmp_path}/tags.csv line 5: {tmp_path}/images/val1.png: file is empty (0 bytes)",
    ]
    assert not (tmp_path / "data").exists()


def test_an_unknown_format_names_those_there_are(data: dict[str, Any], tmp_path: Path) -> None:
    data["format"] = "imagenet"
    with pytest.raises(InputError, match=r"dataset\.format: no type 'imagenet'; allowed: coco, folder, shapes, voc"):
        prepare(tmp_path / "data", **data)


def test_an_unknown_setting_names_those_there_are(data: dict[str, Any], tmp_path: Path) -> None:
    data["settings"]["tag"] = "x"
    with pytest.raises(InputError, match=r"dataset\.settings: unknown setting 'tag'; allowed: images, tags, masks"):
        prepare(tmp_path / "data", **data)


def test_the_demo_passes_the_checks(tmp_path: Path) -> None:
    settings = {"train": 2, "val": 2, "image_size": 32}
    prepare(
        tmp_path / "data", name="demo", format="shapes", settings=settings, shards={"train": 2}, allow_unlabelled=True
    )
    assert len(Manifest.read(tmp_path / "data/manifest.csv").select("val", "000")) == 2


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"provider": "taxonomy"}, 2), ({"provider": "random", "seed": 3}, 2), ({"provider": "none"}, 0)],
)
def test_clusters_are_written(data: dict[str, Any], tmp_path: Path, settings: dict[str, Any], count: int) -> None:
    prepare(tmp_path / "data", **data)
    output = tmp_path / "clusters/c/clusters.json"
    clusters(tmp_path / "data/manifest.csv", output, **settings)
    stored = json.loads(output.read_text())
    assert stored["provider"] == settings["provider"]
    assert stored["settings"] == {key: value for key, value in settings.items() if key != "provider"}
    assert [set(cluster) for cluster in stored["clusters"]] == [{"name", "members"}] * count
    if settings["provider"] == "taxonomy":
        assert stored["clusters"] == [{"name": n, "members": m} for n, m in TAXONOMY.items()]
    assert json.loads((output.parent / "clusters.provenance.json").read_text())["settings"] == settings


def test_a_partition_that_does_not_fit_is_not_written(data: dict[str, Any], tmp_path: Path) -> None:
    data["settings"]["taxonomy"] = {"pets": ["cat"]}
    prepare(tmp_path / "data", **data)
    with pytest.raises(InputError) as caught:
        clusters(tmp_path / "data/manifest.csv", tmp_path / "clusters.json", provider="taxonomy")
    assert caught.value.problems == [f"clusters: '{n}' is missing; put it into one cluster" for n in ("bird", "dog")]
    with pytest.raises(InputError, match=r"clusters \(none\): unknown setting 'seed'"):
        clusters(tmp_path / "data/manifest.csv", tmp_path / "clusters.json", provider="none", seed=1)
    with pytest.raises(InputError, match=r"clusters\.provider: no type 'oracle'; allowed: file, .*none, .*taxonomy"):
        clusters(tmp_path / "data/manifest.csv", tmp_path / "clusters.json", provider="oracle")
    assert not (tmp_path / "clusters.json").exists()
