import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcc.runtime.errors import InputError
from pcc.runtime.files import atomic_path, digest, locked, publish, resumable_directory, write_json
from pcc.runtime.ownership import claimed


def test_atomic_path_leaves_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="boom"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("boom")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_digest_sees_content_and_names(tmp_path: Path) -> None:
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    digests = [digest(tmp_path / folder) for folder in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_unfinished_work_is_kept_for_the_same_key_only(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def killed(key: dict[str, int]) -> list[str]:
        with pytest.raises(KeyboardInterrupt), resumable_directory(path, key) as work:
            found = sorted(p.name for p in work.iterdir() if not p.name.startswith("."))
            (work / f"part{len(found)}").write_text("x")
            (work / ".part.1234").write_text("half of a next part")
            raise KeyboardInterrupt
        return found

    assert killed({"a": 1}) == []
    assert killed({"a": 1}) == ["part0"]
    assert killed({"a": 2}) == []
    with resumable_directory(path, {"a": 2}) as work:
        publish(work, path)
    assert [p.name for p in path.iterdir()] == ["part0"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


WRITER = """
import sys
from pathlib import Path
from pcc.runtime.files import publish, resumable_directory
from pcc.runtime.ownership import claimed

path = Path(sys.argv[1])
with claimed(path, "train", "folder"), resumable_directory(path, {"a": int(sys.argv[2])}) as work:
    (work / "part").write_text("x")
    print("begun", flush=True)
    sys.stdin.readline()
    publish(work, path)
"""


@pytest.fixture
def writer() -> Iterator[Callable[[Path, int], "subprocess.Popen[str]"]]:
    """Start another process that writes an artifact and waits for a line in the middle."""
    started = []

    def start(path: Path, key: int) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", WRITER, str(path), str(key)]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "begun\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["classifier", "000.safetensors", "with space"])
def test_a_second_process_on_an_artifact_is_one_line(tmp_path: Path, writer: Any, name: str) -> None:
    """Whether its settings are the same or not; the first is undisturbed."""
    path = tmp_path / "new" / name
    first = writer(path, 1)
    line = f"is being written by process {first.pid} on {socket.gethostname()} since .*; wait for it or stop it$"
    with pytest.raises(InputError, match=line), claimed(path, "train", "folder"):
        pass
    first.communicate("go on\n", timeout=60)
    assert first.returncode == 0
    assert [p.name for p in path.parent.iterdir()] == [name] and [p.name for p in path.iterdir()] == ["part"]


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path, writer: Any) -> None:
    path = tmp_path / "out"
    first = writer(path, 1)
    first.kill()
    first.wait()
    with claimed(path, "train", "folder"), resumable_directory(path, {"a": 1}) as work:
        assert (work / "part").exists(), "and its work is taken up"
    assert not list(tmp_path.iterdir())


def test_artifacts_side_by_side_do_not_wait_for_each_other(tmp_path: Path, writer: Any) -> None:
    writer(tmp_path / "000", 1)
    with claimed(tmp_path / "001", "train", "folder"):
        pass


def test_a_lock_that_its_owner_removes_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, real, asked = tmp_path / ".out.lock", fcntl.lockf, []

    def lockf(*given: Any) -> None:
        if not asked:
            file.unlink()
        asked.append(given)
        real(*given)

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with locked(tmp_path / "out"):
        assert len(asked) == 2 and str(os.getpid()) in file.read_text()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def lockf(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with caplog.at_level("INFO"), locked(tmp_path / "out"):
        pass
    assert "this file system has no locks" in caplog.text and not list(tmp_path.iterdir())


def test_a_mount_point_whose_surroundings_cannot_be_written_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container: root writes anywhere, so that the system's answer is played."""
    real = Path.open

    def refused(path: Path, *given: Any, **more: Any) -> Any:
        if path.name.endswith(".lock"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *given, **more)

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "open", refused)
    with caplog.at_level("INFO"), claimed(tmp_path / "out", "predict", "inside"):
        pass
    assert "nothing is locked" in caplog.text
