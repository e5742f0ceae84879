"""The kernel under AddressSanitizer and UndefinedBehaviorSanitizer, on random and extreme cases."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNEL = HERE.parents[1] / "pcc/mean_field"
FLAGS = ["-std=c++17", "-O0", "-Wno-psabi", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Seeds, cases, longest side, most labels; `make fuzz` asks for more.
AMOUNTS = os.environ.get("PCC_FUZZ", "0 300 60 255;1000 5 700 40")


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    sources = [HERE / "fuzz.cpp", KERNEL / "baseline.cpp", KERNEL / "avx2.cpp"]
    built = subprocess.run(
        [compiler, *FLAGS, *map(str, sources), "-o", str(program)], check=False, capture_output=True, text=True
    )
    if "sanitize" in built.stderr or "asan" in built.stderr:
        pytest.skip(f"the compiler has no sanitizers: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.slow
@pytest.mark.parametrize("amount", AMOUNTS.split(";"))
def test_no_case_reads_or_writes_where_it_should_not(fuzz, amount):
    run = subprocess.run([str(fuzz), *amount.split()], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
