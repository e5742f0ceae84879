"""The package as it is published: built from the checkout, installed into an environment of its own, used elsewhere."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
DATA = ("resources/schemas/config.schema.yaml", "resources/voc12.yaml", "resources/coco14.yaml", "resources/nouns.txt",
        "resources/prompts/clusters.yaml", "gallery/page/index.html")  # fmt: skip
CLASSES = ["striped_pebble", "dotted_kite"]
DRAWN = {"name": "tried", "format": "shapes", "settings": {"train": 4, "val": 2}, "shards": {}}

pytestmark = pytest.mark.slow


def run(*words: object, cwd: Path, **options: object) -> str:
    """Standard output of a command, which must succeed."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist and a wheel, built from what git would commit."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source, cwd=source)
    return dist


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that has the wheel, and this one's other packages."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    # A path file named in a path file is not read: the checkout's editable install stays out.
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python, (wheel,) = folder / "bin/python", built.glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=folder)
    assert run(python, "-c", "import pcc; print(pcc.__file__)", cwd=folder).startswith(str(packages))
    return folder / "bin"


def test_both_archives_hold_the_data_and_pass_twine(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert {f"pcc/{name}" for name in DATA} <= set(archive.namelist())
    with tarfile.open(sdist) as archive:
        below = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"pcc/{name}" for name in DATA} | {"pcc/mean_field/lattice.h"} <= below
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=built)


def test_commands_work_outside_the_checkout(installed: Path, example_models: dict[str, Path], tmp_path: Path) -> None:
    pcc = installed / "pcc"
    run(pcc, "prepare", "--output", "data", "--settings", json.dumps(DRAWN), cwd=tmp_path)
    asked = json.dumps({"provider": "openai", "model": "parrot"})
    manifest = ("--manifest", "data/manifest.csv")
    words = ("--output", "clusters.json", "--print-prompt", "--settings", asked)
    assert "striped_pebble" in run(pcc, "clusters", *manifest, *words, cwd=tmp_path)
    config = {
        "dataset": DRAWN,
        "methods": {"cam": {"model": {"backbone": {"name": "test_resnet"}}, "training": {"image_size": 32}}},
        "localizations": {"cam": {"image_size": 32}},
        "experiments": [{"method": "cam", "localization": "cam"}],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert "4 train, 2 val" in run(pcc, "doctor", cwd=tmp_path)
    run(pcc, "export", example_models["segmenter"], "--output", "model", "--no-onnx", cwd=tmp_path)
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "cat.png")
    run(pcc, "predict", "model", "cat.png", "--output", "out", cwd=tmp_path)
    with Image.open(tmp_path / "out/masks/cat.png") as mask:
        assert mask.size == (30, 20)


def test_the_python_lines_of_the_readme_run(installed: Path, example_models: dict[str, Path], tmp_path: Path) -> None:
    lines = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]  # type: ignore[index]
    (model,) = re.findall(r'Predictor\.load\("(.*?)"\)', lines)
    shutil.copytree(example_models["segmenter"], tmp_path / model / "segmenter")
    for name in set(re.findall(r'"([^"/]+\.(?:jpg|png))"', lines)):
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / name)
    shown = "\nprint(mask.shape, mask.dtype, probabilities.shape)"
    assert run(installed / "python", "-c", lines + shown, cwd=tmp_path) == "(20, 30) uint8 (4, 20, 30)\n"
