from pathlib import Path

import pytest

from pcc.deployment.inputs import find_images
from pcc.runtime.errors import InputError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.jpg", "a/2.PNG", "a/notes.txt", "a/.hidden.jpg", "b/1.jpg", "b/deep/3.webp", "odd[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*given: str, **settings: list[Path]) -> dict[str, str]:
    return {photo.image_id: photo.path.as_posix() for photo in find_images(given, **settings)}


def test_folders_files_and_patterns(photos: Path) -> None:
    assert named("a") == {"1": "a/1.jpg", "2": "a/2.PNG"}
    assert named("b") == {"1": "b/1.jpg", "deep__3": "b/deep/3.webp"}
    assert named("a/notes.txt") == {"notes": "a/notes.txt"}  # named itself: tried, whatever it is
    assert named("odd[1].jpg") == {"odd[1]": "odd[1].jpg"}
    assert named("a/*") == {"1": "a/1.jpg", "2": "a/2.PNG"}
    assert named("**/*.webp") == {"b__deep__3": "b/deep/3.webp"}
    assert named(f"{photos}/b/d*") == {"deep__3": f"{photos}/b/deep/3.webp"}
    assert named("a/*.txt") == {"notes": "a/notes.txt"}


def test_each_photo_counts_once_however_often_it_is_meant(photos: Path) -> None:
    assert named("a/1.jpg", "a", "./a/*.jpg", str(photos / "a/1.jpg")) == {"1": "a/1.jpg", "2": "a/2.PNG"}


def test_equal_names_are_told_apart_by_their_folders(photos: Path) -> None:
    assert named("a", "b/1.jpg") == {"a__1": "a/1.jpg", "2": "a/2.PNG", "b__1": "b/1.jpg"}
    assert named("../" + photos.name + "/a/1.jpg", "b/1.jpg").keys() == {"a__1", "b__1"}


def test_equal_stems_in_one_folder_are_told_apart_by_their_suffixes(photos: Path) -> None:
    (photos / "a/1.png").touch()
    assert named("a") == {"1.jpg": "a/1.jpg", "1.png": "a/1.png", "2": "a/2.PNG"}


def test_names_that_cannot_be_told_apart_are_one_line(photos: Path) -> None:
    (photos / "a__1.jpg").touch()
    with pytest.raises(InputError, match=r"both would be stored as a__1\.jpg; rename one") as caught:
        named(".")
    assert len(caught.value.problems) == 1


def test_results_are_no_photos(photos: Path) -> None:
    (photos / "masks").mkdir()
    (photos / "masks/1.png").touch()
    (photos / "c.png").touch()
    assert named("**/*.png", without=[photos / "masks"]) == {"c": "c.png"}
    with pytest.raises(InputError, match="no image in this folder"):
        named("masks", without=[Path("masks")])


@pytest.mark.parametrize(
    ("given", "message"),
    [("none.jpg", "no such file or folder"), ("*.gif", "no file fits"), ("empty", "no image in this folder")],
)
def test_nothing_found_is_one_line(photos: Path, given: str, message: str) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        named("a", given)
    assert len(caught.value.problems) == 1
