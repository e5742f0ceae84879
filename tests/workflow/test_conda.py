"""`--use-conda` through a stand-in for conda: every rule runs in the environment that it names.

That the environments resolve on conda-forge cannot be shown here: the packages are stubs over this interpreter's own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "tests/conda"
ENVIRONMENTS = sorted((ROOT / "workflow/envs").glob("*.yaml"))


@pytest.mark.slow
def test_the_workflow_runs_in_environments_made_by_conda(tmp_path: Path) -> None:
    channel, work = tmp_path / "channel", tmp_path / "work"
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
        [sys.executable, "-m", "snakemake", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = list((work / ".snakemake/conda").glob("*/bin/python"))
    assert len(made) == len(ENVIRONMENTS)
    activated = {
        line.split()[-1] for line in done.stderr.splitlines() if "Activating conda environment" in line
    }
    assert len(activated) == len(made), "every environment was used"
