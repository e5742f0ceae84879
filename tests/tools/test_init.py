"""What `init` writes is what it found; what is wrong is told in the words of `prepare`, and then nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import yaml
from PIL import Image
from safetensors.torch import save_file
from strangers import draw_photos

from pcc.artifacts.masks import write_mask
from pcc.planning.estimate import Images
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
    assert config["scoring"] == {"splits": []} and config["clusters"].keys() == {"none", "one"}
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
    assert "--val-share: 2.0 is not between 0 and 1" in problems(tmp_path / "photos", val_share=2.0)[0]
    assert "split val is empty; give it an image, or split otherwise" in problems(tmp_path / "photos", val_share=0.0)[0]


def test_too_many_classes(tmp_path: Path) -> None:
    for number in range(255):
        place = tmp_path / f"photos/{number}"
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(b"")
    assert problems(tmp_path / "photos") == ["data set photos: 255 classes; give 1 to 254"]


class Clock:
    """A clock on a machine that does something else most of the time."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("step", [1e-9, 3.0, 1e6])
def test_a_busy_machine_gets_the_same_proposal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    init(tmp_path / "photos", tmp_path / "mine.yaml")
    idle = (tmp_path / "mine.yaml").read_text()
    for clock in ("monotonic", "perf_counter", "process_time", "thread_time", "time"):
        monkeypatch.setattr(f"pcc.planning.measuring.time.{clock}", Clock(step))
    init(tmp_path / "photos", tmp_path / "mine.yaml", force=True)
    assert (tmp_path / "mine.yaml").read_text() == idle


def test_little_memory_gets_small_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    sizes = []
    for gigabytes in (64, 1.5, 0.2):
        monkeypatch.setattr(module, "memory", lambda gigabytes=gigabytes: gigabytes * 2**30)
        config = proposed(tmp_path, tmp_path / "photos", force=True)
        sizes.append(config["localizations"]["cam"]["image_size"])
    assert sizes == [448, 336, 224]


def test_large_sets_and_images_get_more_shards(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    seen = []
    module_fit = module.fit

    def fit(proposal: Any, images: Any, threads: int) -> Any:
        for train, pixels in ((500, 1e5), (501, 1e5), (5000, 187_500.0), (500, 1.875e6)):
            found, _ = module_fit(proposal, Images(train, 20, 1.0, pixels, "here"), threads)
            seen.append(found.shards)
        return module_fit(proposal, images, threads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit", fit)
        patch.setattr(module, "measure", lambda _: ({}, {}, []))
        init(tmp_path / "photos", tmp_path / "mine.yaml")
    assert [shards["train"] for shards in seen] == [1, 2, 10, 10]
    assert [shards["val"] for shards in seen] == [1, 1, 1, 1]


def test_times_that_could_not_be_measured_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    monkeypatch.setattr("pcc.planning.measuring.SECONDS", -1.0)
    init(tmp_path / "photos", tmp_path / "mine.yaml")
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("not known") == 7 and "0.0s" not in shown  # five stages, in all, and why


def test_masks_in_another_order_get_their_option(tmp_path: Path) -> None:
    """Pebbles are 1, kites 2, flowers 3 in the masks; init sorts names."""
    order = ("pebble", "kite", "flower")
    draw_photos(tmp_path / "photos", 40, "csv")
    lines = (tmp_path / "photos/list.csv").read_text().splitlines()[1:]
    (tmp_path / "photos/masks").mkdir()
    for line in lines:
        name, _, tags = line.partition(",")
        mask = np.zeros((32, 32), np.uint8)
        for tag in tags.strip('"').split(", "):
            mask[order.index(tag)] = order.index(tag) + 1
        write_mask(tmp_path / "photos/masks" / name, mask)
    (line,) = problems(tmp_path / "photos")
    assert "as if written with classes: [pebble, kite, flower]; pass --classes pebble,kite,flower" in line
    config = proposed(tmp_path, tmp_path / "photos", classes="pebble, kite,flower")
    assert config["dataset"]["settings"]["classes"] == list(order)
    (tmp_path / "mine.yaml").unlink()
    assert "unknown class 'pebble'" in problems(tmp_path / "photos", classes="kite,flower")[0]


def test_many_images_without_label_are_one_line_with_the_option(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", 20, "csv")
    table = tmp_path / "photos/list.csv"
    table.write_text("".join(f"{line.split(',')[0]},\n" for line in table.read_text().splitlines()))
    table.write_text(table.read_text().replace("photo,", "photo,labels").replace("000.png,", "000.png,kite"))
    (line,) = InputError(problems(tmp_path / "photos", val_share=0.0)[:19]).summary()
    assert line.startswith("19 training images have no label: 001, 002, 003, 004, 005 and 14 more; label them")
    assert "pass --allow-unlabelled" in line and "dataset" not in line
