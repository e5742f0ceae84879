import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pcc.artifacts.clusters import read_clusters, write_clusters
from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.artifacts.masks import read_mask, write_mask
from pcc.ids import palette
from pcc.runtime.errors import InputError


def test_maps_come_back_in_order_and_half_precision(tmp_path: Path) -> None:
    maps = {f"im{i}": Maps((0, i), torch.rand(2, 3, 4 + i), (30, 40)) for i in (3, 1, 2)}
    write_maps(tmp_path / "000.safetensors", maps)
    back = dict(read_maps(tmp_path / "000.safetensors"))
    assert list(back) == ["im3", "im1", "im2"]
    for image_id, stored in back.items():
        assert (stored.classes, stored.size) == (maps[image_id].classes, (30, 40))
        torch.testing.assert_close(stored.values, maps[image_id].values.half().float(), atol=0, rtol=0)


def test_masks_are_palette_pngs_in_voc_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [15, 20, 255]], np.uint8)
    write_mask(tmp_path / "a.png", mask)
    assert (read_mask(tmp_path / "a.png") == mask).all()
    colours = np.array(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3).tolist()
    # Published VOC colours: background, aeroplane, bicycle, person, tvmonitor, void.
    assert colours == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]
    assert len(palette()) == 3 * 256


def test_a_mask_of_colours_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(InputError, match="mask has mode RGB; save class ids as an 8-bit palette or grey PNG"):
        read_mask(tmp_path / "rgb.png")


def test_clusters_come_back_as_member_names(tmp_path: Path) -> None:
    clusters = [{"name": "pets", "members": ["cat", "dog"]}, {"name": "rest", "members": ["boat"]}]
    write_clusters(tmp_path / "clusters.json", clusters, provider="file")
    assert read_clusters(tmp_path / "clusters.json") == [("cat", "dog"), ("boat",)]
    assert json.loads((tmp_path / "clusters.json").read_text())["provider"] == "file"


def test_maps_of_before_agreements_were_stored_are_read(tmp_path: Path) -> None:
    images = json.dumps({"a": {"classes": [0, 2], "size": [3, 4]}})
    save_file({"a": torch.ones(2, 1, 1)}, tmp_path / "old.safetensors", metadata={"images": images})
    ((image_id, maps),) = read_maps(tmp_path / "old.safetensors")
    assert (image_id, maps.classes, maps.size, maps.agreements) == ("a", (0, 2), (3, 4), {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e6])  # the last is infinite in fp16
def test_maps_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    values = torch.ones(2, 2, 2)
    values[1, 0, 1] = value
    with pytest.raises(
        InputError, match="localization maps of b are NaN or infinite; its network is damaged"
    ) as caught:
        write_maps(
            tmp_path / "a.safetensors",
            {"a": Maps((0, 1), torch.ones(2, 2, 2), (4, 4)), "b": Maps((0, 1), values, (4, 4))},
        )
    assert len(caught.value.problems) == 1 and not list(tmp_path.iterdir())
    images = json.dumps({"b": {"classes": [0, 1], "size": [4, 4]}})
    save_file({"b": values.half()}, tmp_path / "foreign.safetensors", metadata={"images": images})
    with pytest.raises(InputError, match="maps of b are NaN or infinite"):
        list(read_maps(tmp_path / "foreign.safetensors"))


@pytest.mark.parametrize(
    "images",
    [
        "not JSON",
        "[]",
        "{}x",
        '{"a": {}}',
        '{"a": {"classes": [0], "size": [3, 4]}}',
        '{"a": {"classes": [0, 300], "size": [3, 4]}}',
        '{"a": {"classes": [0, 1], "size": [0, 4]}}',
        '{"b": {"classes": [0, 1], "size": [3, 4]}}',
        '{"a": {"classes": [0, 1], "size": [3, 4], "agreements": 3}}',
    ],
)
def test_damaged_metadata_of_maps_are_one_line(tmp_path: Path, images: str) -> None:
    save_file({"a": torch.ones(2, 1, 1)}, tmp_path / "000.safetensors", metadata={"images": images})
    with pytest.raises(InputError, match="not a shard of localization maps") as caught:
        list(read_maps(tmp_path / "000.safetensors"))
    assert len(caught.value.problems) == 1 and "\n" not in caught.value.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"clusters": 3}',
        '{"clusters": [{"name": "a"}]}',
        '{"clusters": [{"name": 1, "members": []}]}',
        "NaN",
    ],
)
def test_a_damaged_partition_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "clusters.json").write_text(text)
    with pytest.raises(
        InputError, match=r"clusters\.json: not (JSON|what `pcc clusters` writes) .*; delete it and run"
    ) as caught:
        read_clusters(tmp_path / "clusters.json")
    assert len(caught.value.problems) == 1
