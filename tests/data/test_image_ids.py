import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcc.artifacts.maps import Maps, read_maps, write_maps
from pcc.data import image_ids as ids


@pytest.mark.parametrize("image_id", ["2007_000032", "a b", "a.b", "Müller-1", "a%20b", "a..b"])
def test_file_names_are_ids(image_id: str) -> None:
    assert ids.fault(image_id) is None


@pytest.mark.parametrize("image_id", ["", "..", ".", ".a", "../a", "a/b", "/a", "a\\b", "C:a", " a", "a\n", "a\x00b"])
def test_what_could_leave_the_folder_is_refused(image_id: str) -> None:
    assert ids.fault(image_id)


@given(st.text(max_size=12))
def test_an_accepted_id_is_one_entry_of_its_folder(image_id: str) -> None:
    if ids.fault(image_id) is None:
        path = Path("/folder") / f"{image_id}.png"
        assert path.parent == Path("/folder")
        assert path.stem == image_id


@pytest.mark.parametrize(
    ("name", "image_id"), [("a.jpg", "a"), ("cats/1.jpg", "cats__1"), ("a.b.png", "a.b"), ("./a.jpg", "a"), ("a", "a")]
)
def test_id_of_a_file_name(name: str, image_id: str) -> None:
    assert ids.from_file_name(name) == image_id


@pytest.mark.parametrize("name", ["../a.jpg", "cats/../../a.jpg", "/a.jpg", "a\\b.jpg", "C:/a.jpg", ".", "", "/"])
def test_a_path_out_of_the_folder_makes_no_id(name: str) -> None:
    assert ids.fault(ids.from_file_name(name))


@pytest.mark.parametrize(
    "image_id",
    [
        "__metadata__",
        os.fsdecode(b"caf\xe9"),
        "\ud800",
        "a\nb",
        "a\n",
        "a\tb",
        "a\r",
        "a\u2028b",
        "a\x1b[2J",
        "\u200e",
        "x" * 201,
        "ü" * 101,
        "😀" * 51,
        "..",
        "...",
        "a/../b",
        "C:",
    ],
)
def test_what_files_and_artifacts_cannot_be_named_is_refused(image_id: str) -> None:
    assert ids.fault(image_id)


@pytest.mark.parametrize(
    "image_id", ["x" * 200, "ü" * 100, "metadata", "__metadata", "-1", "a'b\"c", "[a]*?", "=1+1", "a,b;c"]
)
def test_odd_names_that_can_be_stored_are_ids(image_id: str) -> None:
    assert ids.fault(image_id) is None


@given(st.text(min_size=1, max_size=60))
def test_an_accepted_id_is_a_key_of_a_shard_and_the_name_of_a_file(
    tmp_path_factory: pytest.TempPathFactory, image_id: str
) -> None:
    if ids.fault(image_id) is None:
        folder = tmp_path_factory.mktemp("ids")
        maps = Maps((0,), torch.zeros(1, 1, 1), (1, 1))
        write_maps(folder / f"{image_id}.safetensors", {image_id: maps})
        assert [name for name, _ in read_maps(folder / f"{image_id}.safetensors")] == [image_id]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("i0", "I0", True),
        ("Straße", "STRASSE", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("CAF\u00c9", "cafe\u0301", True),
        ("cafe", "café", False),
        ("i0", "i_0", False),
    ],
)
def test_which_names_some_file_systems_do_not_tell_apart(one: str, other: str, same: bool) -> None:
    assert (ids.on_disk(one) == ids.on_disk(other)) is same
