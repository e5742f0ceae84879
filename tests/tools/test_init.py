"""What `init` writes is what it found; what is wrong is told in the words of `prepare`, and then nothing is written."""

from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from PIL import Image
from safetensors.torch import save_file
from strangers import draw_photos

from pcc.readers import folder as reader
from pcc.runtime.errors import InputError
from pcc.stages.prepare import prepare
from pcc.tools import init as module
from pcc.tools.init import init


@pytest.fixture(autouse=True)
def no_time_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-size photos are measured as well as whole ones."""
    monkeypatch.setattr("pcc.planning.measuring.TYPICAL", (60, 80))


def proposed(tmp_path: Path, folder: Path, **how: Any) -> dict[str, Any]:
    """The configuration, which must be read by `prepare`."""
    output = tmp_path / "mine.yaml"
    init(folder, output, **how)
    config = yaml.safe_load(output.read_text(encoding="utf-8"))
    prepare(tmp_path / "prepared", **config["dataset"])
    return config


def problems(folder: Path, **how: Any) -> list[str]:
    output = folder.parent / "mine.yaml"
    with pytest.raises(InputError) as caught:
        init(folder, output, **how)
    assert not output.exists()
    return caught.value.problems


@pytest.mark.parametrize("layout", ["csv", "folders"])
def test_a_folder_as_people_have_it(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "My photos", 40, layout)
    config = proposed(tmp_path, tmp_path / "My photos")
    dataset = config["dataset"]
    assert dataset["name"] == "My_photos"
    assert dataset["settings"]["classes"] == ["flower", "kite", "pebble"]
    assert config["scoring"] == {"splits": []} and config["clusters"] == {"none": {"provider": "none"}}
    assert config["methods"]["cam"]["model"]["backbone"]["weights"] == "hub"
    manifest = reader.read(tmp_path, **dataset["settings"])
    train = [r for r in manifest.records if r.split == "train"]
    counts = {n: sum(n in r.labels for r in manifest.records) for n in manifest.dataset.classes}
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{len(train)} train, {40 - len(train)} val" in shown
    assert f"flower {counts['flower']}, kite {counts['kite']}, pebble {counts['pebble']}" in shown
    assert "--configfile" in shown and "mine.yaml: written" in shown
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert f"- kite # {counts['kite']} images" in " ".join(text.split())


def test_the_same_photos_get_the_same_file(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    first = proposed(tmp_path, tmp_path / "photos")
    with pytest.raises(InputError, match=r"mine.yaml: already exists; .*--force"):
        init(tmp_path / "photos", tmp_path / "mine.yaml")
    assert proposed(tmp_path, tmp_path / "photos", force=True) == first


def test_masks_are_scored_where_there_are_some(tmp_path: Path) -> None:
    """Only of two training images: val cannot be scored."""
    draw_photos(tmp_path / "photos", 20, "csv")
    manifest = reader.read(
        tmp_path,
        images=str(tmp_path / "photos"),
        tags=str(tmp_path / "photos/list.csv"),
        image_column="photo",
        tags_column="labels",
        separator=",",
    )
    (tmp_path / "photos/masks").mkdir()
    for record in [r for r in manifest.records if r.split == "train"][:2]:
        Image.new("L", (32, 32), 1).save(tmp_path / "photos/masks" / record.image.name)
    config = proposed(tmp_path, tmp_path / "photos")
    assert config["scoring"]["splits"] == ["train"]
    assert config["dataset"]["settings"]["masks"].endswith("photos/masks")


def test_a_language_model_is_asked_where_there_is_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    for name in (module.KEY, module.ADDRESS):
        monkeypatch.delenv(name, raising=False)
    assert "set OPENAI_API_KEY" in problems(tmp_path / "photos", llm="qwen3:8b")[0]
    monkeypatch.setenv(module.ADDRESS, "http://localhost:1/v1")
    config = proposed(tmp_path, tmp_path / "photos", llm="qwen3:8b")
    assert config["clusters"]["llm"] == {"provider": "openai", "model": "qwen3:8b"}
    used = [e["method"] for e in config["experiments"]]
    assert config["methods"]["pcc_clusters"]["clusters"] == "llm" and "pcc_clusters" in used


def test_weights_say_which_network(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    network = timm.create_model("resnet10t", num_classes=0)
    for name in ("resnet10t.mine.safetensors", "resnet18.safetensors", "mine.safetensors"):
        save_file(network.state_dict(), tmp_path / name)
    assert (
        "mine.safetensors: the file name is not a timm network"
        in problems(tmp_path / "photos", weights_file=tmp_path / "mine.safetensors")[0]
    )
    assert "does not fit resnet18" in problems(tmp_path / "photos", weights_file=tmp_path / "resnet18.safetensors")[0]
    assert "not found" in problems(tmp_path / "photos", weights_file=tmp_path / "resnet50.safetensors")[0]
    config = proposed(tmp_path, tmp_path / "photos", weights_file=tmp_path / "resnet10t.mine.safetensors")
    assert config["methods"]["cam"]["model"]["backbone"]["name"] == "resnet10t"


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    draw_photos(photos, 20, "csv")
    table = photos / "list.csv"
    (photos / "empty.png").write_bytes(b"")
    (photos / "new.png").write_bytes((photos / "000.png").read_bytes())
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, "gone.png,kite", "empty.png,kite", lines[1]]) + "\n")
    found = problems(photos)
    for words in (
        "list.csv line 22: " + str(photos / "gone.png") + ": file is missing; restore it or take",
        "empty.png: file is empty (0 bytes); restore it",
        "list.csv line 24: image id 000 is there twice, first at",
        "new.png: image has no row in",
    ):
        assert sum(words in line for line in found) == 1, (words, found)
    assert len(found) == 4


def test_images_without_a_row_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    (tmp_path / "photos/new.png").write_bytes((tmp_path / "photos/000.png").read_bytes() + b" ")
    proposed(tmp_path, tmp_path / "photos", skip_untagged=True)
    assert "1 skipped without a row" in " ".join(capsys.readouterr().out.split())


def test_images_without_a_tag(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    table = tmp_path / "photos/list.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-4], *(line.split(",")[0] + "," for line in lines[-4:])]) + "\n")
    assert all("has no labels; label it" in line for line in problems(tmp_path / "photos"))
    assert proposed(tmp_path, tmp_path / "photos", allow_unlabelled=True)["dataset"]["allow_unlabelled"]


def test_settings_that_will_not_do(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    assert "--name: 'a/b' names a folder" in problems(tmp_path / "photos", name="a/b")[0]
    assert "val_share: 2.0 is not allowed; a number from 0 to 1" in problems(tmp_path / "photos", val_share=2.0)[0]
    assert "split val is empty; give it an image, or split otherwise" in problems(tmp_path / "photos", val_share=0.0)[0]


def test_too_many_classes(tmp_path: Path) -> None:
    for number in range(255):
        place = tmp_path / f"photos/{number}"
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(b"")
    assert problems(tmp_path / "photos") == ["data set photos: 255 classes; give 1 to 254"]


def test_slow_machines_get_small_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    real = module.measure

    def slow(config: dict[str, Any]) -> Any:
        networks, refinements, faults = real(config)
        return ({k: n.__class__(1e-3, n.stride, n.channels, 1) for k, n in networks.items()}, refinements, faults)

    monkeypatch.setattr(module, "measure", slow)
    config = proposed(tmp_path, tmp_path / "photos")
    sizes = {config["localizations"]["cam"]["image_size"], config["methods"]["pcc"]["training"]["image_size"]}
    assert sizes == {224}
