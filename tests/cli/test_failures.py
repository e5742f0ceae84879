import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from pcc.artifacts.tensors import write_tensors
from pcc.cli.calling import user_errors
from pcc.runtime.files import atomic_path, write_json, write_text

MIB = 2**20


@pytest.fixture
def small_files() -> object:
    """Files may not be larger than 1 MiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lines_of(act: Callable[[], object], capsys: pytest.CaptureFixture[str], code: int = 2) -> list[str]:
    """What is said on standard error when a command does this; it must end with this exit code."""
    with pytest.raises(typer.Exit) as caught, user_errors("try"):
        act()
    assert caught.value.exit_code == code
    return capsys.readouterr().err.splitlines()


def noise(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "png")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "x" * 2 * MIB),
        lambda path: write_json(path, ["x" * MIB] * 2),
        lambda path: write_tensors(path, {"a": torch.zeros(MIB)}),
        noise,
    ],
)
def test_a_file_that_grows_too_large(
    write: Callable[[Path], object], small_files: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text("before")
    (line,) = lines_of(lambda: write(tmp_path / "a"), capsys)
    assert line.startswith(f"pcc try: {tmp_path / 'a'}: ") and "run the same again" in line
    assert "file too large; raise the limit" in line or "encoder error" in line
    assert (tmp_path / "a").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def fail(number: int, name: str | None = "x/y") -> Callable[[], object]:
    def act() -> None:
        raise OSError(number, os.strerror(number), name)

    return act


def allocate() -> None:
    torch.empty(2**60)


def exhaust() -> None:
    raise MemoryError


def unload() -> None:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (fail(errno.ENOSPC), "pcc try: x/y: no space left on device; free some space, then run the same again: "),
        (fail(errno.ENOSPC, None), "pcc try: no space left on device; free some space"),
        (fail(errno.EDQUOT), "pcc try: x/y: disk quota exceeded; free some of your quota"),
        (fail(errno.EROFS), "pcc try: x/y: read-only file system; name a place"),
        (fail(errno.EIO), "pcc try: x/y: input/output error; see whether the disk"),
        (lambda: write_text(Path("/proc/none/a"), ""), "pcc try: /proc/none: no such file or directory; check"),
        (lambda: write_text(Path(__file__) / "a", ""), f"pcc try: {__file__}: file exists; a file lies where"),
        (lambda: write_text(Path(__file__) / "a/b", ""), "a file lies where a folder should be"),
        (lambda: write_text(Path("y" * 300), ""), "file name too long; choose a shorter name"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    act: Callable[[], object], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines_of(act, capsys)
    assert len(found) == 1 and line in found[0]


@pytest.mark.parametrize("act", [allocate, exhaust, unload])
def test_too_little_memory_is_one_line(act: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines_of(act, capsys, code=1)
    assert line.startswith("pcc try: out of memory; lower batch_size")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("a"), ImportError("no such module")])
def test_our_own_faults_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), user_errors("try"):
        raise error


def test_a_reader_that_goes_away_is_no_fault() -> None:
    program = "import pcc.cli; pcc.cli.main()"
    done = subprocess.run(
        f"{sys.executable} -c '{program}' --help | head -c 1", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
