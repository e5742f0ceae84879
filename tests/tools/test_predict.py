"""A segmenter goes out as a folder and predicts there what the workflow predicts; bad photos hurt no good ones."""

import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

from pcc.artifacts.masks import read_mask, write_mask
from pcc.artifacts.networks import write_weights
from pcc.artifacts.provenance import Job
from pcc.cli import app
from pcc.data.images import read_image
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.data.tensors import image_tensor
from pcc.deployment.package import open_model
from pcc.deployment.predictor import Predictor
from pcc.models.segmenter import build_segmenter
from pcc.runtime.errors import InputError
from pcc.runtime.files import digest, read_json, write_json
from pcc.stages.evaluate import evaluate
from pcc.stages.segment import segment
from pcc.tools.export import export
from pcc.tools.predict import predict

CLASSES = ("cat", "dog", "boat")
MODEL = {"backbone": {"name": "test_resnet", "weights": "random", "levels": [1, 2]}, "width": 8}
CRF = {"iterations": 2, "gaussian": {"sxy": 1, "weight": 3}, "bilateral": {"sxy": 9, "srgb": 9, "weight": 3}}
PREDICTION: dict[str, Any] = {"image_size": None, "scales": [1.0, 0.5], "flip": True, "merge": "maximum", "crf": CRF}
STAGES = {"localization": None, "refinement": None, "segmenter": PREDICTION}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a segmenter in results, as the workflow leaves it: three photos predicted and scored."""
    root = tmp_path_factory.mktemp("results") / "tiny"
    rng, records = np.random.default_rng(0), []
    for number, (height, width) in enumerate([(40, 52), (64, 33), (48, 48)]):
        image, mask = root / f"data/images/im{number}.png", root / f"data/masks/im{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        blocks = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1)))[:height, :width]
        Image.fromarray(blocks.astype(np.uint8)).save(image)
        write_mask(mask, rng.integers(0, 4, (height, width)).astype(np.uint8))
        records.append(Record(f"im{number}", image, CLASSES, mask, "val"))
    Manifest(Dataset("tiny", CLASSES), tuple(records)).write(root / "data")
    above = root / "cam/seed-3/cam/argmax/light"
    torch.manual_seed(1)
    network = build_segmenter("light_head", 4, MODEL)
    with torch.no_grad():  # so that every class wins somewhere
        network.head[-1].weight *= 50
        network.head[-1].bias -= network.eval()(image_tensor(read_image(records[0].image))[None]).mean((0, 2, 3))
    description = {"type": "light_head", "classes": list(CLASSES), "model": MODEL, "supervision": "labels"}
    write_json(above / "segmenter/model.json", description)
    write_weights(above / "segmenter/weights.safetensors", network.state_dict())
    Job(
        {**description, "training": {"image_size": 48}, "weights": "/home/someone/w.safetensors"},
        [root / "data/manifest.csv"],
        seed=3,
    ).write_provenance(above / "segmenter")
    manifest, shard = root / "data/manifest.csv", above / "predictions/000"
    segment(manifest, above / "segmenter", shard, shard="000", **PREDICTION)
    choices = {"dataset": "tiny", "method": "cam", "localization": "cam", "refinement": "argmax", "seed": 3}
    evaluate(
        manifest,
        [shard],
        above / "metrics.json",
        kind="predictions",
        split="val",
        experiment={**choices, "segmenter": "light", "supervision": "labels"},
        segmenter=PREDICTION,
    )
    return above


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("away") / "model"
    export(run, folder)
    return folder


def images_of(run: Path) -> Path:
    return run.parents[4] / "data/images"


def pcc(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def masks_in(folder: Path) -> dict[str, str]:
    return {file.name: digest(file) for file in sorted(folder.glob("*.png"))}


def test_the_exported_folder_predicts_the_workflow_s_bytes(run: Path, exported: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    shutil.copytree(exported, away)
    assert predict(away, [str(images_of(run))], tmp_path / "out") == 0
    expected = masks_in(run / "predictions/000")
    assert len(expected) == 3 and masks_in(tmp_path / "out/masks") == expected
    assert len({int(i) for f in (tmp_path / "out/masks").iterdir() for i in np.unique(read_mask(f))}) > 1
    assert predict(run / "segmenter", [str(images_of(run))], tmp_path / "same") == 0
    assert masks_in(tmp_path / "same/masks") == expected


def test_settings_can_be_had_otherwise(run: Path, exported: Path, tmp_path: Path) -> None:
    photos = [str(images_of(run))]
    predict(exported, photos, tmp_path / "out", scales=[1.0], flip=False, crf=False)
    manifest, chosen = run.parents[4] / "data/manifest.csv", {**PREDICTION, "scales": [1.0], "flip": False, "crf": None}
    segment(manifest, run / "segmenter", tmp_path / "p", shard="000", **chosen)
    assert masks_in(tmp_path / "out/masks") == masks_in(tmp_path / "p") != masks_in(run / "predictions/000")


def test_onnx_predicts_the_same_masks(run: Path, exported: Path, tmp_path: Path) -> None:
    predict(exported, [str(images_of(run))], tmp_path / "out", engine="onnx")
    for file in (run / "predictions/000").glob("*.png"):
        same = read_mask(file) == read_mask(tmp_path / "out/masks" / file.name)
        assert same.mean() > 0.999  # ties may fall the other way


def test_the_folder_holds_no_pickle_and_no_place(exported: Path) -> None:
    assert {file.name for file in exported.iterdir()} == {"README.md", "config.json", "model.onnx", "model.safetensors"}
    config = read_json(exported / "config.json")
    assert config["classes"] == ["background", *CLASSES]
    assert config["palette"][:2] == [[0, 0, 0], [128, 0, 0]]
    assert config["multiple_of"] == 1 and config["onnx"]["size"] == "any"
    assert {key: config["prediction"][key] for key in PREDICTION} == PREDICTION
    assert config["digests"] == {name: digest(exported / name) for name in ("model.safetensors", "model.onnx")}
    header = (exported / "model.safetensors").read_bytes()
    assert json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    for name in ("README.md", "config.json"):
        text = (exported / name).read_text()
        assert "/home/" not in text and str(exported.parents[1]) not in text


def test_the_card_has_the_numbers_of_metrics_json(run: Path, exported: Path) -> None:
    card, metrics = (exported / "README.md").read_text(), read_json(run / "metrics.json")
    assert f"| mean_iou | {json.dumps(metrics['mean_iou'])} |" in card
    for name, value in metrics["iou"].items():
        assert f"| {name} | {json.dumps(value)} |" in card
    assert 'split: "val", num_images: 3, oracle: false' in card
    assert "image-level labels" in card and "seed: 3" in card and "data set: tiny" in card
    assert digest(exported / "model.safetensors") in card


def test_scores_of_other_weights_are_left_out(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "light")
    record = tmp_path / "light/predictions/000/provenance.json"
    write_json(record, {**read_json(record), "inputs": {}})
    export(tmp_path / "light", tmp_path / "model", onnx=False)
    assert "Scores\n\nNone" in (tmp_path / "model/README.md").read_text()
    assert read_json(tmp_path / "model/config.json")["prediction_from"] == "defaults"


def test_run_length_codes_are_the_masks(run: Path, exported: Path, tmp_path: Path) -> None:
    predict(exported, [str(images_of(run))], tmp_path, crf=False)
    found = read_json(tmp_path / "predictions.json")
    for name in ("im0", "im1", "im2"):
        mask, again = read_mask(tmp_path / f"masks/{name}.png"), np.zeros((1, 1), np.uint8)
        entries = [entry for entry in found if entry["image_id"] == name]
        assert entries
        again = sum(e["category_id"] * coco_mask.decode(e["segmentation"]).astype(int) for e in entries)
        np.testing.assert_array_equal(again, mask)
        for entry in entries:
            rows, columns = np.nonzero(mask == entry["category_id"])
            left, top = columns.min(), rows.min()
            assert entry["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
            assert entry["area"] == len(rows)
            assert 0.25 <= entry["score"] <= 1  # the largest of four probabilities, on average
    coco = COCO(str(tmp_path / "images.json"))
    assert len(coco.loadRes(str(tmp_path / "predictions.json")).anns) == len(found)
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)


def test_photos_of_every_kind_the_right_way_up(exported: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pixels[..., :3]).save(photos / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., 0]).save(photos / "grey.png")
    Image.fromarray(pixels).save(photos / "alpha.png")
    Image.fromarray(pixels[..., :3]).convert("P").save(photos / "palette.gif")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(photos / "deep.tif")
    assert predict(exported, [str(photos)], tmp_path / "out", crf=False) == 0
    for photo in photos.iterdir():
        size = read_image(photo).shape[:2]
        assert size == ((44, 30) if photo.stem == "turned" else (30, 44))
        assert read_mask(tmp_path / f"out/masks/{photo.stem}.png").shape == size
        assert read_image(tmp_path / f"out/overlays/{photo.stem}.jpg").shape[:2] == size


def test_a_corrupt_photo_among_others(
    run: Path, exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(images_of(run), photos)
    whole = (photos / "im1.png").read_bytes()
    (photos / "im1.png").write_bytes(whole[: len(whole) // 2])
    (photos / " blank.png").write_bytes(whole)
    result = pcc("predict", exported, photos, "--output", tmp_path / "out")
    assert result.exit_code == 1
    lines = [line for line in caplog.messages if "im1.png: image cannot be read" in line]
    assert len(lines) == 2 and lines[1] == f"  {lines[0]}"  # when it is met, and in the list at the end
    assert "2 of 4 images could not be predicted:" in caplog.messages
    assert masks_in(tmp_path / "out/masks").keys() == {"im0.png", "im2.png"}
    assert {entry["image_id"] for entry in read_json(tmp_path / "out/predictions.json")} <= {"im0", "im2"}
    assert not list((tmp_path / "out").rglob(".*"))
    again = ("predict", exported, photos, "--output", tmp_path / "out", "--skip-existing")
    assert pcc(*again).exit_code == 1  # what is left to do is bad, but not all
    (photos / "im1.png").write_bytes(whole)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out/masks").iterdir()}
    (photos / " blank.png").unlink()
    assert pcc(*again).exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert masks_in(tmp_path / "out/masks") == masks_in(run / "predictions/000")
    assert {image["id"] for image in read_json(tmp_path / "out/images.json")["images"]} == {"im0", "im1", "im2"}


def test_two_folders_and_the_server_s_layout(run: Path, exported: Path, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(images_of(run) / "im0.png", tmp_path / "photos" / name / "im0.png")
    result = pcc(
        "predict", exported, tmp_path / "photos/x", tmp_path / "photos/y", "--voc-test", "--output", tmp_path / "out"
    )
    assert result.exit_code == 0
    masks = tmp_path / "out/results/VOC2012/Segmentation/comp6_test_cls"
    assert {file.name for file in masks.iterdir()} == {"x__im0.png", "y__im0.png"}
    assert digest(masks / "x__im0.png") == digest(run / "predictions/000/im0.png")
    assert not (tmp_path / "out/overlays").exists() and not (tmp_path / "out/predictions.json").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{model}", "{photos}/none.png"], "none.png: no such file or folder"),
        (["{photos}", "{photos}"], "no model here; name a folder of `pcc export`"),
        (["{model}", "{photos}", "--scales", "1,x"], "--scales: invalid value '1,x'"),
        (["{model}", "{photos}", "--scales", "0"], "prediction.scales: [0.0] is not allowed; a list of 1 to 32 items"),
        (["{model}", "{bad}"], "bad.png: image cannot be read"),
        (["{run}", "{photos}", "--engine", "onnx"], "no model.onnx here; run `pcc export`"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_exit_code_2(
    run: Path, exported: Path, tmp_path: Path, words: list[str], line: str
) -> None:
    (tmp_path / "bad.png").write_text("no image")
    places = {"model": exported, "photos": images_of(run), "bad": tmp_path / "bad.png", "run": run}
    result = pcc("predict", *(word.format(**places) for word in words), "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert line in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("pcc predict:")]) == 1


def test_a_file_of_one_size_refuses_other_settings(run: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "model")
    config = read_json(exported / "config.json")
    write_json(tmp_path / "model/config.json", {**config, "onnx": {**config["onnx"], "size": 48}})
    with pytest.raises(InputError, match="takes images of 48x48 pixels only"):
        predict(tmp_path / "model", [str(images_of(run))], tmp_path / "out", engine="onnx")


def test_damaged_exports_are_one_line(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not the file that config\.json was written with"):
        open_model(tmp_path / "model")
    (tmp_path / "model/config.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="format is 'other'"):
        open_model(tmp_path / "model")


def test_export_touches_no_folder_of_another_kind(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    result = pcc("export", run, "--output", tmp_path / "mine", "--no-onnx")
    assert result.exit_code == 2 and "not empty and no earlier export" in result.output
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = pcc("export", run, "--output", tmp_path / "new")
    assert result.exit_code == 2 and "not installed: onnx; pip install" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not (tmp_path / "new").exists()
    for _ in range(2):  # an earlier export is replaced
        assert pcc("export", run / "segmenter", "--output", tmp_path / "new", "--no-onnx").exit_code == 0
    assert {file.name for file in tmp_path.joinpath("new").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert pcc("export", tmp_path, "--output", tmp_path / "other").exit_code == 2


def tried(exported: Path, *words: object) -> tuple[int, str]:
    result = pcc("predict", exported, *words)
    return result.exit_code, result.output


def user_files(folder: Path) -> dict[Path, str]:
    return {file: digest(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def _link_to_the_output(folder: Path) -> list[str]:
    (folder / "own/masks").mkdir(parents=True)
    shutil.copy(folder / "im0.png", folder / "own/masks/b.png")
    (folder / "own2").symlink_to("own")
    return ["own2/masks", "own"]


def _masks_of_the_user(folder: Path) -> list[str]:
    (folder / "data/masks").mkdir(parents=True)
    shutil.copy(folder / "im0.png", folder / "data/masks/im0.png")
    return ["im0.png", "data"]


def _a_stage_s_folder(folder: Path) -> list[str]:
    write_json(folder / "stage/provenance.json", {"settings": {"split": "val"}})
    return ["im0.png", "stage"]


def _a_hard_link(folder: Path) -> list[str]:
    _earlier_results(folder)
    (folder / "earlier/masks").mkdir()
    (folder / "earlier/masks/im0.png").hardlink_to(folder / "im0.png")
    return ["im0.png", "earlier"]


def _a_result_that_is_a_link(folder: Path) -> list[str]:
    _earlier_results(folder)
    (folder / "earlier/overlays").mkdir()
    (folder / "earlier/overlays/im0.jpg").symlink_to("../../im0.png")
    return ["im0.png", "earlier"]


def _predictions_of_another_program(folder: Path) -> list[str]:
    write_json(folder / "other/predictions.json", [])
    return ["im0.png", "other"]


def _a_file(folder: Path) -> list[str]:
    return ["im0.png", "im0.png"]


def _earlier_results(folder: Path) -> None:
    write_json(folder / "earlier/provenance.json", {"settings": {"engine": "torch", "voc_test": False}})


@pytest.mark.parametrize(
    "arrange",
    [
        _link_to_the_output,
        _masks_of_the_user,
        _a_stage_s_folder,
        _a_hard_link,
        _a_result_that_is_a_link,
        _predictions_of_another_program,
        _a_file,
    ],
)
def test_no_file_of_the_user_is_overwritten(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrange: Callable[[Path], list[str]]
) -> None:
    shutil.copy(images_of(run) / "im0.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    given, output = arrange(tmp_path)
    before = user_files(tmp_path)
    code, said = tried(exported, given, "--output", output)
    assert code == 2 and len(said.strip().splitlines()) == 1
    assert "name another" in said or "name a folder" in said
    assert user_files(tmp_path) == before


def test_a_killed_run_s_folder_is_taken_up(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [str(images_of(run))]
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr("pcc.tools.predict.write_mask", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        predict(exported, photos, tmp_path / "out", crf=False)
    assert predict(exported, photos, tmp_path / "out", crf=False) == 0
    assert len(masks_in(tmp_path / "out/masks")) == 3


def test_names_too_long_to_store_fail_alone(run: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a", "b" * 250, "ü" * 120, "z"):
        shutil.copy(images_of(run) / "im0.png", tmp_path / f"photos/{name}.png")
    for more in ([], ["--skip-existing"], ["--no-crf", "--voc-test"]):
        code, _ = tried(exported, tmp_path / "photos", "--output", tmp_path / f"out{len(more)}", *more)
        assert code == 1
        folder = next((tmp_path / f"out{len(more)}").rglob("a.png")).parent
        assert {"a.png", "z.png"} <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(
    "error", [RuntimeError("Kernel size can't be greater than actual input size"), MemoryError(), InputError("logits")]
)
def test_an_image_that_the_network_cannot_take_fails_alone(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    good = Predictor.probabilities

    def sometimes(self: Predictor, images: Any) -> Any:
        if images.shape[1] == 64:  # im1
            raise error
        return good(self, images)

    monkeypatch.setattr(Predictor, "probabilities", sometimes)
    assert predict(exported, [str(images_of(run))], tmp_path, crf=False) == 1
    assert masks_in(tmp_path / "masks").keys() == {"im0.png", "im2.png"}


def test_a_full_disk_is_not_the_image_s_fault(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pcc.tools.predict.write_mask", full)
    with pytest.raises(OSError, match="No space left"):
        predict(exported, [str(images_of(run))], tmp_path, crf=False)


def test_a_model_that_could_not_be_opened_is_not_exported(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "light")
    file = tmp_path / "light/segmenter/model.json"
    made = read_json(file)
    made["model"]["backbone"]["settings"] = {"zero_init_last": False}
    write_json(file, made)
    result = pcc("export", tmp_path / "light", "--output", tmp_path / "model", "--no-onnx")
    assert result.exit_code == 2 and "setting 'zero_init_last' is not allowed in an exported model" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not (tmp_path / "model").exists()
