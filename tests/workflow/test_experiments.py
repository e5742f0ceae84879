from pathlib import Path

from experiments import initial_weights, published, scoring_settings

from pcc.configuration import files_in
from pcc.results import branches

CONFIG = {
    "seeds": [0, 1],
    "dataset": {"name": "toy"},
    "methods": {"pcc": {"model": {"backbone": {"name": "resnet50", "weights": "hub", "dilate": False}}}},
    "localizations": {"cam": {"scales": [1.0]}},
    "refinements": {"crf": {"iterations": 10}, "argmax": {}},
    "segmenters": {"light": {"model": {}, "prediction": {"flip": True}}},
    "experiments": [
        {"supervision": "labels", "method": "pcc", "localization": "cam", "refinement": "argmax"},
        {"supervision": "labels", "method": "pcc", "localization": "cam", "refinement": "crf", "segmenter": "light"},
        {"supervision": "masks", "segmenter": "light"},
    ],
}


def test_folders_mirror_the_choices() -> None:
    found = branches(CONFIG)
    assert sorted(folder for folder in found if "seed-1" in folder) == [
        "masks/seed-1/light",
        "pcc/seed-1/cam",
        "pcc/seed-1/cam/argmax",
        "pcc/seed-1/cam/crf",
        "pcc/seed-1/cam/crf/light",
    ]
    assert len(found) == 10
    assert found["masks/seed-0/light"]["method"] is None
    assert found["pcc/seed-1/cam"]["refinement"] is None
    assert found["pcc/seed-1/cam/crf"]["seed"] == 1


def test_numbers_carry_the_settings_of_every_step() -> None:
    found = scoring_settings(CONFIG, branches(CONFIG)["pcc/seed-0/cam/crf/light"])
    assert found == {
        "localization": {"scales": [1.0]},
        "refinement": {"iterations": 10},
        "segmenter": {"flip": True},
        "initial_weights": None,
        "oracle": False,
    }
    found = scoring_settings(CONFIG, branches(CONFIG)["pcc/seed-0/cam/argmax"])
    assert found["initial_weights"] == "resnet50, hub"
    assert initial_weights({"architecture": "unet", "encoder": "tu-resnet18", "weights": "random"}) == (
        "tu-resnet18, random"
    )


def test_a_walk_is_told_with_the_labels_of_its_boundaries() -> None:
    walk = {"boundary": {"labels": "crf"}}
    config = {**CONFIG, "refinements": {**CONFIG["refinements"], "walk": walk}}
    choices = {**branches(CONFIG)["pcc/seed-0/cam/argmax"], "refinement": "walk"}
    assert scoring_settings(config, choices)["boundary_labels"] == {"iterations": 10}


def test_a_method_whose_epoch_masks_chose_makes_every_later_number_an_oracle() -> None:
    chosen = {"training": {"phases": [{"name": "match"}, {"name": "refine", "select": "masks"}]}}
    methods = {"first": chosen, "second": {"after": {"generator": "first"}}, "pcc": {"training": {"phases": []}}}
    config = {**CONFIG, "methods": methods}
    choices = branches(CONFIG)["pcc/seed-0/cam/crf/light"]
    assert scoring_settings(config, {**choices, "method": "second"})["oracle"]
    assert not scoring_settings(config, choices)["oracle"]


def test_published_numbers_know_their_chain() -> None:
    number = {"mean_iou": 58.6, "images": 1464, "source": "the paper"}
    experiments = [CONFIG["experiments"][0] | {"published": number}, *CONFIG["experiments"][1:]]
    assert published({**CONFIG, "experiments": experiments}) == [
        {"method": "pcc", "localization": "cam", "refinement": "argmax", "segmenter": None, **number}
    ]
    assert branches({**CONFIG, "experiments": experiments}) == branches(CONFIG)


def test_files_are_found_wherever_settings_name_them(tmp_path: Path) -> None:
    weights, folder = tmp_path / "w.safetensors", tmp_path / "data.d"
    weights.touch()
    folder.mkdir()
    settings = {"model": {"backbones": [{"weights": str(weights)}, {"weights": "hub"}]}, "root": str(folder), "k": 3}
    assert files_in(settings) == [str(weights)]
    packaged = [files_in({"settings": {"classes": "voc12"}}), files_in({"nouns": "nouns", "name": "voc12"})]
    assert [[Path(path).name for path in paths] for paths in packaged] == [["voc12.yaml"], ["nouns.txt"]]
