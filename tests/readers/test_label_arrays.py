import os
import pickle
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcc.readers.label_arrays import read_label_arrays
from pcc.runtime.errors import InputError

VECTORS = {"2007_000032": np.array([1, 0, 1], np.float32), "2007_000039": np.array([0, 0, 0], np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_the_fields_own_file_is_read(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "cls_labels.npy", {k: v.astype(dtype) for k, v in VECTORS.items()})
    read = read_label_arrays(tmp_path / "cls_labels.npy")
    assert list(read) == list(VECTORS)
    for image_id, vector in VECTORS.items():
        np.testing.assert_array_equal(read[image_id], vector)


def test_ids_kept_as_numbers_become_voc_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", {2007000032: VECTORS["2007_000032"], np.int64(2011003276): VECTORS["2007_000039"]})
    assert list(read_label_arrays(tmp_path / "a.npy")) == ["2007_000032", "2011_003276"]


class Runs:
    """An object whose pickle is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "system"),
        (eval, "eval"),
        (subprocess.check_output, "check_output"),
        (getattr, "getattr"),
        (np.load, "load"),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(
    tmp_path: Path, protocol: int, function: Any, name: str, nested: bool
) -> None:
    path, ran = tmp_path / "cls_labels.npy", tmp_path / "ran"
    hostile: Any = Runs(function, f"touch {ran}")
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array({"2007_000032": hostile}, object) if nested else hostile, file, protocol)
    with pytest.raises(InputError, match=rf"refused, because its pickle asks for '.*{name}'") as caught:
        read_label_arrays(path)
    assert len(caught.value.problems) == 1
    assert str(path) in caught.value.problems[0]
    assert not ran.exists()


def test_numpy_itself_would_have_run_it(tmp_path: Path) -> None:
    """The attack of the test above is a real one."""
    path, ran = tmp_path / "a.npy", tmp_path / "ran"
    np.save(path, np.array({"a": Runs(os.system, f"touch {ran}")}, object))
    np.load(path, allow_pickle=True)
    assert ran.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"nothing of the kind", b"\x80\x04K\x01."], ids=["empty", "cut", "text", "pickle"]
)
def test_other_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy: not a pickled dictionary") as caught:
        read_label_arrays(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [np.zeros((2, 3)), np.array([1, "a"], object), np.array([1, 2], object)[0:1]])
def test_other_arrays_are_one_line(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(InputError, match="not a pickled dictionary"):
        read_label_arrays(tmp_path / "a.npy")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file of labels is missing"):
        read_label_arrays(tmp_path / "a.npy")


def saved(path: Path, content: Any, protocol: int = 4) -> Path:
    """A file as ``numpy.save`` writes it, with a pickle of another protocol."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(content, object), file, protocol)
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "vector",
    [
        np.array([1, 0, 1], ">f4"),
        np.array([1, 0, 1], ">i8"),
        np.array([1, 0, 1], np.float16),
        np.array([[1, 0], [0, 0], [1, 0]], np.uint8)[:, 0],
        [1, 0, 1],
        (np.float32(1), np.int64(0), np.bool_(True)),
    ],
    ids=str,
)
def test_numbers_are_read_however_they_are_stored(tmp_path: Path, vector: Any, protocol: int) -> None:
    read = read_label_arrays(saved(tmp_path / "a.npy", {"a": vector, 2007000032: vector}, protocol))
    assert {key: value.tolist() for key, value in read.items()} == {"a": [1, 0, 1], "2007_000032": [1, 0, 1]}


@pytest.mark.parametrize(
    "vector",
    [
        np.array(["1", "0"]),
        np.array([1, None], object),
        np.zeros(2, [("a", "f4"), ("b", "O")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, complex),
        Runs(np.ndarray, (10**6,), "f8"),
        Runs(np.ndarray, (2,)),
        Runs(np.dtype, "f8,O"),
    ],
    ids=lambda vector: str(getattr(vector, "call", vector)),
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, vector: Any) -> None:
    """Sizes, types and addresses of memory are not taken from a pickle."""
    with pytest.raises(InputError, match=r"not a pickled dictionary|refused, because") as caught:
        read_label_arrays(saved(tmp_path / "a.npy", {"a": vector}))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path, drawn = saved(tmp_path / "a.npy", VECTORS), random.Random(5)
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        path.write_bytes(content[: drawn.choice([len(content), drawn.randrange(len(content))])])
        try:
            read_label_arrays(path)
        except InputError as error:
            outcomes.add("refused")
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - most are refused
        else:
            outcomes.add("read")
    assert outcomes == {"read", "refused"}
