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
    return {photo.image_id: photo.path.as_posix() for photo in find_images(given, **settings)[0]}


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


@pytest.mark.parametrize("pair", [("a/1.jpg", "a/1.JPG"), ("Cats/x.png", "cats/x.png"), ("STRASSE.jpg", "straße.jpg")])
def test_names_that_differ_in_case_only_are_one_line(photos: Path, pair: tuple[str, str]) -> None:
    # some file systems do not tell them apart
    for name in pair:
        (photos / "case" / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / "case" / name).touch()
    with pytest.raises(InputError, match="both would be stored as") as caught:
        named("case")
    assert len(caught.value.problems) == 1 and all(name in caught.value.problems[0] for name in pair)


def test_linked_folders_are_followed_once_and_never_in_circles(photos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "z.jpg").touch()
    (outside / "back").symlink_to(photos / "a")
    (photos / "a/link").symlink_to(outside)
    (photos / "a/same").symlink_to(outside)
    (photos / "a/up").symlink_to("..")
    (photos / "b/deep/round").symlink_to("..")
    (photos / "a/gone").symlink_to("nowhere")
    assert named("a") == {"1": "a/1.jpg", "2": "a/2.PNG", "link__z": "a/link/z.jpg"}
    assert named("b") == {"1": "b/1.jpg", "deep__3": "b/deep/3.webp"}


def test_results_behind_a_link_are_no_photos_either(photos: Path) -> None:
    (photos / "own/masks").mkdir(parents=True)
    (photos / "own/masks/1.png").touch()
    (photos / "own/2.png").touch()
    (photos / "other").symlink_to("own")
    assert named("other", without=[Path("own/masks")]) == {"2": "other/2.png"}


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["IMG_1.HEIC"], "left out 1 file of unsupported formats (IMG_1.HEIC); convert them to JPEG or PNG"),
        (["1.svg", "sub/2.CR2"], "left out 2 files of unsupported formats (1.svg, 2.CR2)"),
        ([f"{n}.heif" for n in range(5)], "left out 5 files of unsupported formats (0.heif, 1.heif, 2.heif, …)"),
        (["notes.txt", ".hidden.heic", "Thumbs.db"], None),
    ],
)
def test_images_of_other_formats_are_counted(photos: Path, names: list[str], line: str | None) -> None:
    for name in ("1.jpg", *names):
        (photos / "mixed" / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / "mixed" / name).touch()
    for given in ("mixed", "mixed/**"):
        found, left_out = find_images([given])
        assert {photo.image_id for photo in found} == {"1"}
        assert (left_out or "").startswith(line or "") and (left_out is None) == (line is None)
    (photos / "mixed/1.jpg").unlink()
    if line:
        with pytest.raises(InputError, match=r"no image in this folder.*left out"):
            find_images(["mixed"])


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
