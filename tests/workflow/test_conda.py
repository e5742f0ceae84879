"""`--use-conda` through a stand-in for conda: every rule runs in the environment that it names.

That the environments resolve on conda-forge cannot be shown here: the packages are stubs over this interpreter's own.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcc.cli import app
from pcc.cli.examples import EXAMPLES, example

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "tests/conda"
ENVIRONMENTS = sorted((ROOT / "workflow/envs").glob("*.yaml"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a small finished run by conda's environments, and what Snakemake said."""
    folder = tmp_path_factory.mktemp("conda")
    channel, work = folder / "channel", folder / "work"
    work.mkdir()
    subprocess.run([sys.executable, SHIM / "make_channel.py", channel, *ENVIRONMENTS], check=True)
    path = f"{SHIM / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CONDA_SHIM_CHANNELS": channel.as_uri()}
    config = ["--configfile", ROOT / "tests/helpers/small.yaml", "--config", "results=results"]
    words = ["-s", ROOT / "Snakefile", "--directory", work, *config, "--cores", "8", "--use-conda"]
    # Python must come from each environment, so nothing may point at another one.
    for key in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(key, None)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return work, done.stderr


@pytest.mark.slow
def test_the_workflow_runs_in_environments_made_by_conda(finished: tuple[Path, str]) -> None:
    work, said = finished
    made = list((work / ".snakemake/conda").glob("*/bin/python"))
    assert len(made) == len(ENVIRONMENTS)
    activated = {line.split()[-1] for line in said.splitlines() if "Activating conda environment" in line}
    assert len(activated) == len(made), "every environment was used"


@pytest.mark.slow
def test_every_example_of_the_help_works_when_pasted(
    finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a run whose folders have the demo's names; SemPLeS's example wants another demo."""
    monkeypatch.chdir(finished[0])
    Path("config.yaml").write_bytes((ROOT / "tests/helpers/small.yaml").read_bytes())
    runner = CliRunner()
    for command in [name for name in EXAMPLES if name != "nouns"]:
        program, *words = shlex.split(example(command))
        done = runner.invoke(app, words)
        assert (program, done.exit_code) == ("pcc", 0), (command, done.output, done.exception)
        shown = runner.invoke(app, [command, "--help"]).output
        pasted = shlex.split(shown.split("Example, after ")[1].split(":\n", 1)[1].replace("\\\n", " "))
        assert pasted == [program, *words], "what the help shows is that command"
