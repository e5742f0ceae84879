from pathlib import Path

from experiments import branches, files_in, scoring_settings

CONFIG = {
    "seeds": [0, 1],
    "dataset": {"name": "toy"},
    "localizations": {"cam": {"scales": [1.0]}},
    "refinements": {"crf": {"iterations": 10}, "argmax": {}},
    "segmenters": {"light": {"model": {}, "prediction": {"flip": True}}},
    "experiments": [
        {"supervision": "labels", "method": "pcc", "localization": "cam", "refinement": "argmax"},
        {
            "supervision": "labels",
            "method": "pcc",
            "localization": "cam",
            "refinement": "crf",
            "segmenter": "light",
        },
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
    }


def test_files_are_found_wherever_settings_name_them(tmp_path: Path) -> None:
    weights, folder = tmp_path / "w.safetensors", tmp_path / "data.d"
    weights.touch()
    folder.mkdir()
    settings = {
        "model": {"backbones": [{"weights": str(weights)}, {"weights": "hub"}]},
        "root": str(folder),
        "k": 3,
    }
    assert files_in(settings) == [str(weights)]
