"""Whatever way a folder is laid out, the settings that are found read it: checked by reading it with them."""

from pathlib import Path

import pytest
from PIL import Image

from pcc.planning.sniff import look, separator_of
from pcc.readers import folder
from pcc.runtime.errors import InputError

NAMES = ("a.jpg", "b.png", "c.jpeg")


def photos(place: Path, *names: str) -> Path:
    for name in names or NAMES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(place / name)
    return place


def read(place: Path, table: str | None = None, **how: Path | str) -> dict[str, tuple[str, ...]]:
    """Tags by id, as the folder reader sees them with the settings found."""
    if table is not None:
        (place / "tags.csv").write_text(table)
    manifest = folder.read(place, **look(place, **how).settings)
    assert manifest.problems == ()
    assert all(record.image.is_file() for record in manifest.records)
    return {record.image_id: record.labels for record in manifest.records}


EXPECTED = {"a": ("cat", "dog"), "b": ("dog",), "c": ()}


@pytest.mark.parametrize(
    "table",
    [
        "image,tags\na.jpg,cat;dog\nb.png,dog\nc.jpeg,\n",
        "labels,photo\ncat | dog,a.jpg\ndog,b.png\n,c.jpeg\n",
        'nr,note,file,labels\n1,good,a.jpg,"cat, dog"\n2,bad,b.png,dog\n3,,c.jpeg,\n',
        "image_id,classes\na,cat dog\nb,dog\nc,\n",  # VOC's table, whose ids have no suffix
        "image;tags\n./a.jpg;cat|dog\n.\\b.png;dog\nc.jpeg;\n",
        "file\tcat\tdog\na.jpg\t1\t1\nb.png\t0\t1\nc.jpeg\t0\t0\n",
        ",path,label\n0,a.jpg,\"['cat', 'dog']\"\n1,b.png,['dog']\n2,c.jpeg,[]\n",  # of pandas, with its index
        "image,label\na.jpg,cat\na.jpg,dog\nb.png,dog\nc.jpeg,nan\n",  # one row for each object
    ],
)
def test_columns_are_known_by_what_they_hold(tmp_path: Path, table: str) -> None:
    assert read(photos(tmp_path), table) == EXPECTED


def test_a_blank_separates_where_words_recur() -> None:
    assert separator_of(["cat dog", "cat", "dog", "dog cat"]) == " "
    assert separator_of(["potted plant", "cat", "dining table"]) == ";"
    assert separator_of(["potted plant, cat", "cat"]) == ","
    assert separator_of(["polar bear", "cat"]) == ";"
    assert separator_of(["cat", "dog"]) == separator_of([]) == ";"


def test_images_may_lie_deeper_than_the_table_says(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "x/a.jpg", "b.png")
    (tmp_path / "tags.csv").write_text("image,tags\nx/a.jpg,cat\nb.png,dog\n")
    found = look(tmp_path)
    assert found.settings["images"] == (tmp_path / "photos").as_posix()
    assert "column 'image'" in found.summary and "labels in 'tags'" in found.summary


def test_a_column_of_splits_is_taken(tmp_path: Path) -> None:
    photos(tmp_path)
    (tmp_path / "tags.csv").write_text("image,part,tags\na.jpg,train,cat\nb.png,val,cat\nc.jpeg,val,cat\n")
    assert look(tmp_path).settings["split_column"] == "part"


def test_folders_are_tags(tmp_path: Path) -> None:
    photos(tmp_path, "cat/1.jpg", "cat/old/2.jpg", "dog/1.jpg", ".hidden/3.jpg", "masks/cat/1.png")
    assert read(tmp_path) == {"cat__1": ("cat",), "cat__old__2": ("cat",), "dog__1": ("dog",)}
    assert look(tmp_path).settings["masks"] == (tmp_path / "masks").as_posix()


def test_masks_are_no_class_even_where_they_fit_no_image(tmp_path: Path) -> None:
    photos(tmp_path, "cat/1.jpg", "masks/of venice.png")
    with pytest.raises(InputError, match=r"masks: looks like a folder of masks.*if it is a class, rename it"):
        look(tmp_path)


def test_the_table_may_lie_anywhere(tmp_path: Path) -> None:
    place, table = photos(tmp_path / "photos"), tmp_path / "elsewhere.csv"
    table.write_text("image,colour,kind\na.jpg,red,cat\n")
    assert look(place, tags=table, tags_column="kind").settings["tags_column"] == "kind"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (b"image,tags\n", "tags.csv: no rows; "),
        (b"image/tags\na.jpg/cat\n", "tags.csv line 1: only one column, 'image/tags'; "),
        (b"image,tags\nz.jpg,cat\n", "tags.csv line 1: column of file names is missing; none of image, tags names"),
        (b"image,colour,kind\na.jpg,red,cat\n", "tags.csv line 1: the column of tags is one of colour, kind; name it"),
        (b"image,split\na.jpg,train\n", "tags.csv line 1: column of labels is missing; "),
        ("image,tags\na.jpg,kätzchen\n".encode("latin-1"), "tags.csv: not a UTF-8 CSV table ("),
        (None, "images, but no tags; put a CSV"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path: Path, table: bytes | None, problem: str) -> None:
    photos(tmp_path)
    if table is not None:
        (tmp_path / "tags.csv").write_bytes(table)
    with pytest.raises(InputError) as caught:
        look(tmp_path)
    assert len(caught.value.problems) == 1 and problem in caught.value.problems[0]


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder of images is missing; check the path"):
        look(tmp_path / "none")
    with pytest.raises(InputError, match="no image found; put images there"):
        look(tmp_path)
    photos(tmp_path)
    with pytest.raises(InputError, match="folder of masks is missing"):
        look(tmp_path, masks=tmp_path / "none")
    with pytest.raises(InputError, match="file is missing; check the path"):
        look(tmp_path, tags=tmp_path / "no.csv")
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("image,tags\na.jpg,cat\n")
    with pytest.raises(InputError, match=r"several tables, one.csv, two.csv; name the one of tags with --tags"):
        look(tmp_path)
    with pytest.raises(InputError, match="column kind is missing; the columns are image, tags"):
        look(tmp_path, tags=tmp_path / "one.csv", tags_column="kind")
