"""What stands in the way is told in one line each; the estimate is the arithmetic its docstring describes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from pcc.configuration import complete
from pcc.planning.estimate import Estimate, Images, count_images
from pcc.planning.findings import times_table
from pcc.planning.measuring import Network, _used, backbones_in, measure
from pcc.runtime.errors import InputError
from pcc.tools.doctor import doctor

ROOT = Path(__file__).parents[2]
BACKBONE = {"name": "resnet18", "weights": "random", "settings": {"channels": [8, 8, 8, 8]}}


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    training = {"image_size": 32, "phases": [{"name": "main", "epochs": 2}, {"name": "more", "epochs": 3}]}
    return {
        "results": str(tmp_path / "results"),
        "seeds": [0, 1],
        "dataset": {"name": "tiny", "format": "shapes", "settings": {"train": 10, "val": 4, "image_size": 32}},
        "methods": {"cam": {"model": {"backbone": BACKBONE}, "training": training}},
        "localizations": {"cam": {"image_size": 32, "scales": [1.0, 2.0], "flip": True}},
        "refinements": {"argmax": {}, "unused": {"type": "no such module"}},
        "segmenters": {
            "light": {
                "model": {"backbone": BACKBONE, "unfrozen_blocks": 0},
                "training": training,
                "prediction": {"image_size": 64, "flip": False},
            }
        },
        "experiments": [
            {"method": "cam", "localization": "cam", "refinement": "argmax", "segmenter": "light"},
            {"method": "cam", "localization": "cam"},
            {"supervision": "masks", "segmenter": "light"},
        ],
        **changes,
    }


def run(tmp_path: Path, settings: dict[str, Any]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    doctor(file)


def test_a_configuration_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, config(tmp_path))
    shown = capsys.readouterr().out
    assert "10 train, 4 val" in shown and "resnet18: random weights" in shown and "GiB free" in shown
    for stage in ("train", "localize", "pseudo_masks", "train_segmenter", "segment", "in all"):
        assert stage in shown
    assert "problem" not in shown


def test_methods_that_begin_with_others_cost_what_those_cost_too(tmp_path: Path) -> None:
    """On the generator's network, and with the generator's own training."""
    settings = config(tmp_path)
    training = settings["methods"]["cam"]["training"]
    settings["methods"]["refined"] = {"type": "semples", "after": {"generator": "cam"}, "training": training}
    settings["experiments"] = [{"method": "refined", "localization": "cam"}]
    networks = {"methods.cam.model.backbone": Network(1e-6, 16, 8, 100)}
    images = Images(10, 0, 1.0, 100.0, "here")
    both = Estimate(complete(settings), images, networks, {}, 1)
    settings["experiments"] = [{"method": "cam", "localization": "cam"}]
    alone = Estimate(complete(settings), images, networks, {}, 1)
    assert alone.seconds["train"] > 0
    assert both.seconds["train"] == pytest.approx(2 * alone.seconds["train"])
    assert both.seconds["localize"] == pytest.approx(alone.seconds["localize"])
    assert [name for name, _ in _used({**settings, "experiments": [{"method": "refined"}]}, "methods", "method")] == [
        "refined",
        "cam",
    ]


def test_every_problem_gets_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    settings = config(tmp_path)
    settings["dataset"]["settings"] = {"root": str(tmp_path / "none"), "labels": {"path": str(tmp_path / "no.csv")}}
    settings["methods"]["cam"]["model"]["backbone"] = {**BACKBONE, "weights": str(tmp_path / "no.safetensors")}
    settings["segmenters"]["light"]["model"]["backbone"] = {**BACKBONE, "name": "resnet50.tv_in1k", "weights": "hub"}
    settings["refinements"]["argmax"] = {"treshold": 1}
    with pytest.raises(InputError) as caught:
        run(tmp_path, settings)
    for words in (
        "dataset.settings.root: no",
        "dataset.settings.labels.path: no",
        "no.safetensors; correct the path",
        "HF_HUB_OFFLINE is set",
        "unknown setting 'treshold'",
    ):
        assert sum(words in problem for problem in caught.value.problems) == 1, words
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "not readable as YAML"), ("a: 1", "needs dataset and experiments"), (None, "not readable")],
)
def test_what_is_no_configuration(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=words):
        doctor(file)


def test_an_entry_that_is_not_defined(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no 'sipe' under methods"):
        run(tmp_path, config(tmp_path, experiments=[{"method": "sipe", "localization": "cam"}]))


def test_estimate_is_the_arithmetic_described(tmp_path: Path) -> None:
    networks = {
        "methods.cam.model.backbone": Network(seconds=1e-3, stride=8, channels=4, parameters=100),
        "segmenters.light.model.backbone": Network(seconds=1e-4, stride=8, channels=4, parameters=50),
    }
    images = Images(train=10, val=4, classes=2.0, pixels=375 * 500 / 2, source="here")
    found = Estimate(complete(config(tmp_path)), images, networks, {"refinements.argmax": 0.5}, processes=2)
    seeds, epochs, pixels = 2, 5, 32**2
    assert found.seconds["train"] == pytest.approx(seeds * 10 * epochs * 3 * pixels * 1e-3)
    assert found.seconds["localize"] == pytest.approx(seeds * 10 * (1 + 4) * 2 * pixels * 1e-3)
    assert found.seconds["pseudo_masks"] == pytest.approx(seeds * 10 * 0.5 / 2 / 2)
    assert found.seconds["train_segmenter"] == pytest.approx(2 * seeds * 10 * epochs * pixels * 1e-4)
    assert found.seconds["segment"] == pytest.approx(2 * seeds * 4 * 64**2 * 1e-4)
    maps, masks = 10 * 2 * 8 * 8 * 3, (10 + 2 * 4) * images.pixels / 32
    assert found.kept == pytest.approx(seeds * (maps + masks + 400 + 2 * 200))
    assert found.passing == pytest.approx(3 * 400)


def test_coco_fits_in_8_gb_of_maps_for_each_localization() -> None:
    """Before it is downloaded; all encoders there have a stride of 16."""
    settings = yaml.safe_load((ROOT / "config/coco14.yaml").read_text())
    images = count_images(settings, (82081, 40137))
    assert (images.train, images.val, images.classes) == (82081, 40137, 2.9)
    encoder = Network(seconds=1e-9, stride=16, channels=768, parameters=90_000_000)
    networks = {place: encoder for place, _ in backbones_in(settings)}
    steps = {(e.get("method"), e.get("localization")) for e in settings["experiments"] if e.get("localization")}
    for method, localization in steps:
        alone = settings | {"experiments": [{"method": method, "localization": localization}]}
        stored = Estimate(complete(alone), images, networks, {}, processes=1).stored
        assert 0 < stored["localize"] <= 8e9, (method, localization)


def test_images_can_be_given_before_the_data_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(tmp_path)
    settings["dataset"]["settings"] = {"root": "nowhere"}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match="no nowhere"):
        doctor(file)
    doctor(file, images=(1000, 500))
    assert "1000 train, 500 val (as given" in " ".join(capsys.readouterr().out.split())


def test_cached_features_are_computed_once_and_take_disk(tmp_path: Path) -> None:
    settings = config(tmp_path, seeds=[0], experiments=[{"method": "cam", "localization": "cam"}])
    settings["methods"]["cam"]["training"]["cache_features"] = True
    network = Network(seconds=1e-3, stride=8, channels=4, parameters=100)
    images = Images(10, 4, 2.0, 1.0, "here")
    found = Estimate(complete(settings), images, {"methods.cam.model.backbone": network}, {}, processes=1)
    assert found.seconds["train"] == pytest.approx(10 * 32**2 * 1e-3)
    assert found.passing == pytest.approx(3 * 400 + 10 * 4 * 4 * 4 * 2)


def test_only_what_experiments_use_is_measured(tmp_path: Path) -> None:
    networks, refinements, problems = measure(config(tmp_path))
    assert set(networks) == {"methods.cam.model.backbone", "segmenters.light.model.backbone"}
    assert set(refinements) == {"refinements.argmax"}
    assert problems == []
    assert networks["methods.cam.model.backbone"].stride == 32
    assert all(network.seconds > 0 for network in networks.values())


def test_images_are_counted_from_the_manifest_then_from_files(tmp_path: Path, results: Any) -> None:
    settings = config(tmp_path, results=str(results.root.parent))
    settings["dataset"]["name"] = results.root.name
    assert (count_images(settings).train, count_images(settings).val) == (8, 0)
    assert count_images(settings).pixels == 24 * 30
    folder = tmp_path / "photos"
    for name in ("train2014/a.jpg", "train2014/b.jpg", "val2014/c.jpg", "masks/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(folder / name)
    settings["dataset"] = {"name": "none", "format": "coco", "settings": {"root": str(folder)}}
    found = count_images(settings)
    assert (found.train, found.val, found.pixels) == (2, 1, 200)


def test_backbones_are_found_wherever_they_are() -> None:
    nested = {"a": {"backbone": {"name": "x"}}, "b": {"features": {"name": "y"}}, "c": {"features": None}}
    assert dict(backbones_in(nested)) == {"a.backbone": {"name": "x"}, "b.features": {"name": "y"}}


def test_the_clock_on_the_wall_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, only the processor's time counts: other work on the machine stretches the rest."""

    def unused() -> float:
        raise AssertionError

    monkeypatch.setattr("pcc.planning.measuring.device", lambda: "cpu")
    for clock in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(f"pcc.planning.measuring.time.{clock}", unused)
    networks, refinements, problems = measure(config(tmp_path))
    monkeypatch.undo()
    assert len(networks) == 2 and len(refinements) == 1 and not problems
    assert all(network.seconds > 0 for network in networks.values())


@pytest.mark.parametrize(
    ("networks", "refinements", "unknown"),
    [
        ({}, {}, {"train", "localize", "pseudo_masks", "train_segmenter", "segment"}),
        ({"methods.cam.model.backbone": Network(1e-3, 8, 4, 1)}, {}, {"pseudo_masks", "train_segmenter", "segment"}),
        (
            {"segmenters.light.model.backbone": Network(1e-3, 8, 4, 1)},
            {"refinements.argmax": 0.5},
            {"train", "localize"},
        ),
    ],
)
def test_what_was_not_measured_is_not_known(
    tmp_path: Path, networks: dict[str, Network], refinements: dict[str, float], unknown: set[str]
) -> None:
    images = Images(train=10, val=4, classes=2.0, pixels=100.0, source="here")
    found = Estimate(complete(config(tmp_path)), images, networks, refinements, processes=1)
    assert {stage for stage, seconds in found.seconds.items() if seconds != seconds} == unknown
    times = list(times_table(found).columns[1].cells)
    assert times.count("not known") == len(unknown) + (len(unknown) == 5)
    assert "more than" in str(times[-1]) or len(unknown) == 5
