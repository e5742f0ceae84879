r"""Tables as spreadsheets, pandas and R write them: each is read as it was meant, or is one line."""

from pathlib import Path

import pytest
from PIL import Image

from pcc.planning.sniff import look
from pcc.readers import folder
from pcc.readers.label_table import file_name, read_label_table, split_tags
from pcc.runtime.errors import InputError

EXPECTED = {"a": ("cat", "dog"), "b": ("dog",), "c": ()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (4, 3)).save(tmp_path / "photos" / name)
    return tmp_path


TABLES: dict[str, bytes] = {
    "semicolons": b'image;tags\na.jpg;"cat;dog"\nb.jpg;dog\nc.jpg;\n',
    "tabs": b"image\ttags\na.jpg\tcat;dog\nb.jpg\tdog\nc.jpg\t\n",
    "bars": b"image|tags\na.jpg|cat;dog\nb.jpg|dog\nc.jpg|\n",
    "Excel's first line": b'sep=;\r\nimage;tags\r\na.jpg;"cat;dog"\r\nb.jpg;dog\r\nc.jpg;\r\n',
    "Excel's first line, quoted": b'"sep=,"\nimage,tags\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,\n',
    "byte-order mark": b"\xef\xbb\xbfimage,tags\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,\n",
    "UTF-16": "image\ttags\r\na.jpg\tcat;dog\r\nb.jpg\tdog\r\nc.jpg\t\r\n".encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + "image,tags\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,\n".encode("utf-16-be"),
    "old line ends": b"image,tags\ra.jpg,cat;dog\rb.jpg,dog\rc.jpg,\r",
    "separators at the end": b"image,tags,,\na.jpg,cat;dog,,\nb.jpg,dog\nc.jpg,,,\n,,,\n",
    "empty lines": b"\n\nimage,tags\n\na.jpg,cat;dog\n\nb.jpg,dog\nc.jpg,\n\n\n",
    "blanks": b"image , tags\n a.jpg ,  cat ; dog \nb.jpg,dog ;\n c.jpg , \n",
    "quotes": b'"image","tags"\n"a.jpg", "cat;dog"\n"b.jpg","dog"\n"c.jpg",""\n',
    "paths": b"image,tags\n./a.jpg,cat;dog\n.\\b.jpg,dog\n.//c.jpg,\n",
    "no suffixes": b"image,tags\na,cat;dog\nb,dog\n./c,\n",
    "pandas lists": b"image,tags\na.jpg,\"['cat', 'dog']\"\nb.jpg,['dog']\nc.jpg,[]\n",
    "NumPy arrays": b"image,tags\na.jpg,['cat' 'dog']\nb.jpg,['dog']\nc.jpg,[]\n",
    "JSON lists": b'image,tags\na.jpg,"[""cat"", ""dog""]"\nb.jpg,"[""dog""]"\nc.jpg,[]\n',
    "Python sets and tuples": b"image,tags\na.jpg,\"{'cat', 'dog'}\"\nb.jpg,\"('dog',)\"\nc.jpg,nan\n",
    "bare lists": b'image,tags\na.jpg,"[cat, dog]"\nb.jpg,[dog]\nc.jpg,NA\n',
    "missing cells": b"image,tags\na.jpg,cat;nan;dog\nb.jpg,dog;None\nc.jpg,NaN\n",
    "a row for each object": b"image,tags\na.jpg,cat\nb.jpg,dog\n./a.jpg,dog\na.jpg,dog\nc.jpg,<NA>\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_prepare_and_init_read_the_same(home: Path, name: str) -> None:
    (home / "tags.csv").write_bytes(TABLES[name])
    by_hand = folder.read(home / "out", images=str(home / "photos"), tags=str(home / "tags.csv"), separator=";")
    proposed = folder.read(home / "out", **look(home / "photos", tags=home / "tags.csv").settings)
    for manifest in (by_hand, proposed):
        assert manifest.problems == ()
        assert {r.image_id: tuple(sorted(r.labels)) for r in manifest.records} == EXPECTED
        assert all(r.image.is_file() for r in manifest.records)
    assert bool(by_hand.notes) == (name == "a row for each object")


FLAGS = [
    b"image,cat,dog\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,0\n",
    b"cat;dog;note;file\nTRUE;True;x;a\nFALSE;true;y;b\nfalse;False;z;c\n",
    b"path,cat,dog\n.\\a.jpg,1.0,1.0\n./b.jpg,,1.0\nc.jpg,,0.0\n",
]


@pytest.mark.parametrize("table", FLAGS)
def test_columns_of_0_and_1_are_classes(home: Path, table: bytes) -> None:
    (home / "tags.csv").write_bytes(table)
    settings = look(home / "photos", tags=home / "tags.csv").settings
    assert settings["tags_column"] == ["cat", "dog"]
    assert {r.image_id: r.labels for r in folder.read(home / "out", **settings).records} == EXPECTED
    with pytest.raises(InputError, match=r"cat, dog hold 0 and 1: set tags_column to a list of them"):
        read_label_table(home / "tags.csv", ["labels"])


BAD: dict[str, tuple[bytes, str]] = {
    "a column twice": (b"image,tags,tags\na.jpg,cat,x\n", r"line 1: column tags is there twice; rename or remove one"),
    "twice but for blanks": (b"image;tags;note; tags\na.jpg;cat;;x\n", r"line 1: column tags is there twice"),
    "twice after Excel's line": (b"sep=,\nimage,image,tags\na.jpg,a.jpg,x\n", r"line 2: column image is there twice"),
    "Latin-1": ("image,tags\na.jpg,cat\nb.jpg,kätzchen\n".encode("latin-1"), r"byte 0xe4 in line 3 is none\); save it"),
    "UTF-16 without its mark": (
        "image,tags\na.jpg,cat\n".encode("utf-16-le"),
        r"it holds zero bytes\); save it as one",
    ),
    "a spreadsheet": (b"PK\x03\x04\x14\0", r"a spreadsheet or zip file; export it as CSV"),
    "an open quote": (b'image,tags\na.jpg,"cat\nb.jpg,dog\n', r"line \d: not a CSV table \(.*\); check the quotes"),
    "a number": (b"image,tags\na.jpg,1\nb.jpg,0\nc.jpg,1\n", r"column tags holds 0 and 1, not names of classes; set"),
    "no such column": (b"image;labels\na.jpg;cat\n", r"line 1: column tags is missing; the columns are image, labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_read_is_one_line(home: Path, name: str) -> None:
    table, line = BAD[name]
    (home / "tags.csv").write_bytes(table)
    with pytest.raises(InputError, match=line) as caught:
        folder.read(home / "out", images=str(home / "photos"), tags=str(home / "tags.csv"))
    assert len(caught.value.problems) == 1


ROWS: dict[str, tuple[str, str]] = {
    "half a list": ("image,tags\na.jpg,['cat'\nb.jpg,dog\n", "line 2: \"['cat'\" is not a list that can be read"),
    "a list in a list": ('image,tags\na.jpg,"[[""cat""]]"\nb.jpg,dog\n', "line 2: '[[\"cat\"]]' is not a list"),
    "a dictionary": ("image,tags\na.jpg,{'cat': 1}\nb.jpg,dog\n", "line 2: \"{'cat': 1}\" is not a list"),
    "too many cells": (
        "image;tags\na.jpg;cat;dog\nb.jpg;dog\n",
        "row does not have 2 cells; quote cells that contain a semi",
    ),
    "too few": (
        "image\ttags\na.jpg\nb.jpg\tdog\n",
        "line 2: row does not have 2 cells; quote cells that contain a tab",
    ),
    "no escape": ("image,tags\na.jpg,['\\x']\nb.jpg,dog\n", "line 2: \"['\\\\x']\" is not a list that can be read"),
    "case": ("image,tags\na.jpg,cat\nb.jpg,Cat;dog\n", "labels 'Cat' (1) and 'cat' (1) differ only in case"),
    "blanks": ("image,tags\na.jpg,big cat\nb.jpg,big  cat\n", "differ only in case, blanks or Unicode form"),
    "Unicode": ("image,tags\na.jpg,k\u00e4fer\nb.jpg,ka\u0308fer\n", "differ only in case, blanks or Unicode form"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_cannot_be_read_are_problems(home: Path, name: str) -> None:
    table, line = ROWS[name]
    (home / "tags.csv").write_text(table, encoding="utf-8")
    manifest = folder.read(home / "out", images=str(home / "photos"), tags=str(home / "tags.csv"))
    assert len(manifest.problems) == 1 and line in manifest.problems[0]


def test_a_class_may_be_called_as_what_is_missing() -> None:
    assert split_tags("none; cat", ";") == ("cat",)
    assert split_tags("none; cat", ";", ["none", "cat"]) == ("none", "cat")
    assert split_tags("(unknown);cat", ";") == ("(unknown)", "cat")


def test_file_names_are_paths_inside_the_folder() -> None:
    assert [file_name(cell) for cell in (" ./a.jpg", ".\\x\\a.jpg", "x//a.jpg", "", " ")] == [
        *("a.jpg", "x/a.jpg", "x/a.jpg", "", "")
    ]
