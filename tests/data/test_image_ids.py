from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
