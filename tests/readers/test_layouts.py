"""Folders of images as people have them: read as they were meant, or one line; nothing is left out in silence."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcc.data.manifest import Manifest
from pcc.planning.sniff import look
from pcc.readers import folder
from pcc.runtime.errors import InputError

Spoil = Callable[[Path], object]


def draw(photos: Path, *names: str) -> None:
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(photos / name)


def draw_masks(photos: Path, *names: str) -> None:
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(photos / name)


def read(photos: Path, output: str = "out/data", **settings: str) -> Manifest:
    return folder.read(photos.parent / output, images=str(photos), **settings)


def labels(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    assert manifest.problems == ()
    return {record.image_id: record.labels for record in manifest.records}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


SPLITS: list[tuple[Sequence[str], dict[str, str], Sequence[str]]] = [
    (["train/cat/1.jpg", "val/dog/2.jpg"], {"train__cat__1": "train", "val__dog__2": "val"}, []),
    (["Training/cat/1.jpg", "Valid/cat/x/1.jpg"], {"Training__cat__1": "train", "Valid__cat__x__1": "val"}, []),
    (
        ["train/cat/1.jpg", "validation/cat/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg"],
        {"train__cat__1": "train", "validation__cat__1": "val"},
        ["2 images in test are left out; splits are train, val"],
    ),
    (
        ["train/cat/1.jpg", "test/cat/1.jpg"],
        {"train__cat__1": "train"},
        ["1 images in test are left out", "no folder val; a share of train is held out instead"],
    ),
    (["train/cat/1.jpg", "train/dog/2.jpg"], {"train__cat__1": "train", "train__dog__2": "train"}, ["no folder val"]),
]


@pytest.mark.parametrize(("names", "splits", "notes"), SPLITS)
def test_folders_of_splits(photos: Path, names: Sequence[str], splits: dict[str, str], notes: Sequence[str]) -> None:
    draw(photos, *names)
    manifest = read(photos, val_share=0.0)  # type: ignore[arg-type]
    assert {r.image_id: r.split for r in manifest.records} == splits
    assert set(manifest.dataset.classes) <= {"cat", "dog"}
    assert len(manifest.notes) == len(notes)
    assert all(words in note for words, note in zip(notes, manifest.notes, strict=True))
    assert look(photos).settings == {"images": photos.as_posix()}


def test_a_class_may_be_called_train(photos: Path) -> None:
    draw(photos, "train/1.jpg", "bus/1.jpg", "car/1.jpg")
    assert labels(read(photos)) == {"bus__1": ("bus",), "car__1": ("car",), "train__1": ("train",)}


REFUSED: dict[str, tuple[Spoil, str]] = {
    "splits and labels": (
        lambda p: draw(p, "train/cat/1.jpg", "val/cat/2.jpg", "dog/3.jpg"),
        "train, val are called as splits, but dog beside them is not",
    ),
    "splits inside labels": (
        lambda p: draw(p, "cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg"),
        "splits are inside the folders of labels; put them around: train/cat, val/cat",
    ),
    "a split without labels": (
        lambda p: draw(p, "train/1.jpg", "train/2.jpg"),
        "called as a split, but has no folders of",
    ),
    "one folder around all": (
        lambda p: draw(p, "flowers/rose/1.jpg", "flowers/tulip/1.jpg"),
        "all images are in flowers, inside folders rose, tulip; if those are the labels, give",
    ),
    "masks by name": (
        lambda p: (draw(p, "cat/1.jpg"), draw_masks(p, "Ground_Truth/x.png")),
        "Ground_Truth: looks like a folder of masks, not a class (1 files)",
    ),
    "labels by name": (lambda p: draw(p, "cat/1.jpg", "labels/7.jpg"), "labels: looks like a folder of masks"),
    "objects by name": (lambda p: draw(p, "cat/1.jpg", "SegmentationObject/7.png"), "SegmentationObject: looks like"),
    "masks by content": (
        lambda p: (draw(p, "cat/1.jpg", "cat/2.jpg", "dog/3.jpg"), draw_masks(p, "other/1.png", "other/3_mask.png")),
        "other: looks like a folder of masks, not a class (2 files)",
    ),
    "masks beside": (
        lambda p: (draw(p, "cat/1.jpg", "dog/2.jpg"), draw_masks(p, "cat/1_mask.png")),
        "1 files look like masks of images beside them: cat/1_mask.png; move them into a folder of masks",
    ),
    "masks with their own ending": (
        lambda p: (draw(p, "cat/1.jpg", "dog/2.jpg"), draw_masks(p, "cat/1-GT.png", "dog/2_seg.png")),
        "2 files look like masks of images beside them: cat/1-GT.png, dog/2_seg.png; ",
    ),
    "masks beside, of the same name": (
        lambda p: (draw(p, "cat/1.jpg", "dog/2.jpg", "dog/3.png"), draw_masks(p, "cat/1.png")),
        "1 files look like masks of images beside them: cat/1.png",
    ),
    "links to what is read": (
        lambda p: (draw(p, "cat/1.jpg", "dog/2.jpg"), (p / "katze").symlink_to("cat")),
        "links to folders that are inside it too: ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_one_line_for_prepare_and_for_init(photos: Path, name: str) -> None:
    spoil, words = REFUSED[name]
    spoil(photos)
    for reading in (read, look):
        with pytest.raises(InputError) as caught:
            reading(photos)  # type: ignore[operator]
        assert words in caught.value.problems[0] and len(caught.value.summary()) == 1


def test_classes_of_equally_numbered_pngs_are_no_masks(photos: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(photos / name)
    assert read(photos).dataset.classes == ("cat", "dog")


def test_links_are_followed_and_circles_are_left_out(photos: Path) -> None:
    draw(photos, "cat/1.jpg")
    draw(photos.parent / "elsewhere", "1.jpg", "deeper/2.jpg")
    draw(photos.parent, "3.jpg")
    (photos / "dog").symlink_to("../elsewhere")
    (photos / "cat/all").symlink_to(photos)
    (photos / "dog/deeper/up").symlink_to("..")
    (photos / "bird").mkdir()
    (photos / "bird/3.jpg").symlink_to(photos.parent / "3.jpg")
    (photos / "bird/gone.jpg").symlink_to("nowhere.jpg")
    manifest = read(photos)
    found = {
        "bird__3": ("bird",),
        "bird__gone": ("bird",),  # reported as missing by the checks
        "cat__1": ("cat",),
        "dog__1": ("dog",),
        "dog__deeper__2": ("dog",),
    }
    assert labels(manifest) == found
    around = ": link to a folder around it; left out"
    assert [note.rpartition("/")[2] for note in manifest.notes] == [f"all{around}", f"up{around}"]
    link = photos.parent / "link"
    link.symlink_to(photos)
    assert labels(read(link)) == found


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["IMG_1.HEIC"], "1 file of unsupported formats left out: cat/IMG_1.HEIC; convert them to JPEG or PNG"),
        (
            ["a.jxl", "b.CR2", "c.nef", "d.svg"],
            "4 files of unsupported formats left out: cat/a.jxl, cat/b.CR2, cat/c.nef,",
        ),
        (
            [f"{i}.dng" for i in range(9)],
            "9 files of unsupported formats left out: cat/0.dng, cat/1.dng, cat/2.dng, cat/3.d",
        ),
        (["film.mp4", "x.psd"], "2 files of unsupported formats left out: cat/film.mp4, cat/x.psd; "),
    ],
)
def test_foreign_formats_are_counted_in_one_line(photos: Path, names: Sequence[str], words: str) -> None:
    draw(photos, "cat/1.jpg", "dog/1.jpg")
    for name in names:
        (photos / "cat" / name).write_bytes(b"\0\0\0\030ftypheic")
    (note,) = read(photos).notes
    assert words in note
    (photos / "tags.csv").write_text("image,tags\ncat/1.jpg,cat\n")
    assert look(photos).notes == (note,)


def test_a_folder_of_foreign_formats_only(photos: Path) -> None:
    photos.mkdir()
    (photos / "1.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no image found[\s\S]*1 file of unsupported formats left out: 1.heic"):
        look(photos)


def test_junk_of_operating_systems_is_passed_over_silently(photos: Path) -> None:
    draw(photos, "cat/1.jpg", "__MACOSX/cat/2.jpg", ".trash/3.jpg", "@eaDir/4.jpg", "dog/.5.jpg", "dog/6.jpg")
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "cat/._1.jpg", "dog/desktop.ini", "readme.txt", "cat/1.json"):
        (photos / name).write_bytes(b"x")
    manifest = read(photos)
    assert labels(manifest) == {"cat__1": ("cat",), "dog__6": ("dog",)} and manifest.notes == ()


@pytest.mark.parametrize("results", ["results/mine", "mine", "cat/mine", "link/mine"])
def test_results_among_the_images_are_left_out(photos: Path, results: str) -> None:
    draw(photos, "cat/1.jpg", "dog/1.jpg")
    (photos.parent / "link").symlink_to(photos)
    before = labels(read(photos, f"photos/{results}/data".replace("photos/link", "link")))
    draw(
        photos.parent / ("link/mine" if "link" in results else f"photos/{results}"),
        "pcc/seed-0/masks/1.png",
        "report/a.png",
    )
    home = photos / results.replace("link/", "")
    (home / "data").mkdir()
    (home / "data/provenance.json").write_text("{}")
    assert labels(read(photos, f"photos/{results}/data".replace("photos/link", "link"))) == before
    assert labels(read(photos, "elsewhere/data")) == before  # results of another run
    assert labels(read(photos.parent / "link", "elsewhere/data")) == before
    (home / "data/provenance.json").unlink()
    (home / "predictions.json").write_text("[]")
    assert labels(read(photos, "elsewhere/data")) == before  # results of `pcc predict`


def test_images_in_the_folder_of_results_are_refused(photos: Path) -> None:
    draw(photos, "cat/1.jpg", "dog/1.jpg")
    (photos.parent / "link").symlink_to(photos)
    for output in ("photos/data", "link/data"):
        with pytest.raises(InputError, match="folder of images is the folder of results too; choose another `results`"):
            read(photos, output)
    assert len(read(photos, "photos").records) == 2
    assert len(read(photos, ".").records) == 2


MASKS: dict[str, tuple[Spoil, str]] = {
    "tif": (
        lambda m: draw_masks(m, "a.tif", "b.tif"),
        "mask of {p}/a.jpg must be the PNG a.png, but is a.tif (2 such masks",
    ),
    "bmp": (lambda m: draw_masks(m, "a.bmp"), "must be the PNG a.png, but is a.bmp; rename or convert it"),
    "gif": (lambda m: draw_masks(m, "c/c.gif"), "mask of {p}/c/c.jpg must be the PNG c/c.png, but is c/c.gif; "),
    "npy": (
        lambda m: (m.mkdir(), (m / "b.npy").write_bytes(b"x")),
        "must be the PNG b.png, but is b.npy; rename or convert it",
    ),
    "ending": (
        lambda m: draw_masks(m, "a_mask.png", "b_mask.png", "c_mask.png"),
        "a.png, but is a_mask.png (3 such masks",
    ),
    "other ending": (lambda m: draw_masks(m, "a-GT.png"), "must be the PNG a.png, but is a-GT.png; "),
    "flat": (lambda m: draw_masks(m, "a.png", "c.png"), "mask of {p}/c/c.jpg must be the PNG c/c.png, but is c.png; "),
    "case": (lambda m: draw_masks(m, "A.png"), "must be the PNG a.png, but is A.png; "),
    "case of the suffix": (lambda m: draw_masks(m, "a.PNG"), "must be the PNG a.png, but is a.PNG; "),
    "none alike": (
        lambda m: draw_masks(m, "x1.png", "x2.png"),
        "no mask found; the mask of {p}/a.jpg must be a.png; there is x1.p",
    ),
    "none": (lambda m: m.mkdir(), "no mask found; the mask of {p}/a.jpg must be a.png"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_under_other_names_are_one_line(photos: Path, name: str) -> None:
    spoil, words = MASKS[name]
    draw(photos, "a.jpg", "b.jpg", "c/c.jpg")
    (photos / "tags.csv").write_text("image,tags\na.jpg,cat\nb.jpg,dog\nc/c.jpg,dog\n")
    spoil(photos.parent / "gt")
    settings = {"tags": str(photos / "tags.csv"), "masks": str(photos.parent / "gt")}
    (problem,) = read(photos, **settings).problems
    assert words.replace("{p}", str(photos)) in problem


def test_some_images_may_have_no_mask(photos: Path) -> None:
    draw(photos, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3.jpg")
    draw_masks(photos.parent / "gt", "cat/1.png", "dog/1.png", "dog/1_colour.png", "overview.png")
    manifest = read(photos, masks=str(photos.parent / "gt"))
    assert manifest.problems == () and [r.scored for r in manifest.records] == [True, False, True, False]
