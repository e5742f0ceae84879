"""The key of the language model's server, looked for in everything that a run through the command line leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import KEY, Behaviour, ChatServer, fails, sorts

from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.files import read_json

pytestmark = pytest.mark.slow

CLASSES = ("bird", "boat", "bus", "cat")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    Manifest(Dataset("toy", CLASSES), (Record("a", tmp_path / "a.png", ("cat",), None, "train", "000"),)).write(
        tmp_path / "data"
    )
    return tmp_path / "data/manifest.csv"


def run(server: ChatServer, manifest: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = json.dumps({"provider": "openai", "model": "parrot", "base_url": server.address, "max_retries": 0})
    command = [sys.executable, "-m", "pcc", "clusters", "--manifest", str(manifest), "--settings", settings]
    output = manifest.parents[1] / "results/clusters.json"
    return subprocess.run(
        [*command, "--output", str(output), *words],
        check=False, capture_output=True, text=True, env={**os.environ, "OPENAI_LOG": "debug"},
    )  # fmt: skip


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(sorts(lambda name: name[0]), 0), (fails(401, f"bad key {KEY}"), 2), (fails(500, f"what is {KEY}?"), 2)],
)
def test_the_key_is_in_no_file_and_on_no_screen(
    server: ChatServer, manifest: Path, behaviour: Behaviour, code: int
) -> None:
    server.script = [behaviour]
    done = run(server, manifest)
    assert done.returncode == code, done.stderr
    assert server.keys[0] == f"Bearer {KEY}", "it was sent"
    assert KEY not in done.stdout + done.stderr
    assert KEY.encode() not in everything(manifest.parents[1])
    output = manifest.parents[1] / "results/clusters.json"
    assert output.exists() == (code == 0)
    assert output.with_name("transcript.jsonl").exists()
    if code:
        assert "Traceback" not in done.stderr


def test_an_artifact_and_its_replay_are_the_same_bytes(server: ChatServer, manifest: Path) -> None:
    server.script = [sorts(lambda name: name[0])]
    assert run(server, manifest).returncode == 0
    output = manifest.parents[1] / "results/clusters.json"
    first = output.read_bytes()
    kept = manifest.parents[1] / "kept.jsonl"
    output.with_name("transcript.jsonl").rename(kept)
    output.unlink()
    server.close()
    done = run(server, manifest, "--replay", str(kept))
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == first
    stored = read_json(output)
    assert stored["provider"] == "openai" and stored["models"] == ["parrot-1.5-0042"]
    assert [cluster["name"] for cluster in stored["clusters"]] == ["b", "c"]


def test_print_prompt_asks_nobody(server: ChatServer, manifest: Path) -> None:
    done = run(server, manifest, "--print-prompt")
    assert done.returncode == 0, done.stderr
    assert "--- user ---" in done.stdout and '"boat"' in done.stdout
    assert not server.bodies
    assert not (manifest.parents[1] / "results").exists()
