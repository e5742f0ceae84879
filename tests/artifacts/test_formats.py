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
