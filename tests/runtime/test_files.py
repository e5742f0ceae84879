import json
from pathlib import Path

import pytest

from pcc.runtime.files import atomic_path, digest, publish, resumable_directory, write_json


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
