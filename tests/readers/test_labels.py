from pathlib import Path

import numpy as np
import pytest

from pcc.artifacts.masks import write_mask
from pcc.readers.labels import LabelSource, from_csv, from_masks, from_npy, from_xml
from pcc.runtime.errors import InputError

CLASSES = ("bird", "cat", "dog")


def everything(labels: LabelSource) -> dict[str, tuple[str, ...] | None]:
    return {image_id: labels.labels(image_id) for image_id in labels.ids()}


def annotation(*names: str, more: str = "") -> str:
    objects = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><part><name>head</name></part></object>" for name in names
    )
    return f"<annotation><filename>a.jpg</filename>{objects}{more}</annotation>"


def test_every_object_counts_and_parts_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(annotation("dog", "cat", "dog"))
    (tmp_path / "b.xml").write_text(annotation())
    labels = from_xml(tmp_path, CLASSES)
    assert everything(labels) == {"a": ("cat", "dog"), "b": ()}
    assert labels.labels("c") is None


def test_one_bad_annotation_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(annotation("dgo", "dog"))
    (tmp_path / "b.xml").write_text("<annotation><object>")
    (tmp_path / "c.xml").write_text(annotation("bird"))
    labels = from_xml(tmp_path, CLASSES)
    with pytest.raises(InputError, match=r"a\.xml: unknown class 'dgo', did you mean 'dog'\?"):
        labels.labels("a")
    with pytest.raises(InputError, match=r"b\.xml: not an XML annotation"):
        labels.labels("b")
    assert labels.labels("c") == ("bird",)


BOMB = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
CAT = "<annotation><object><name>cat</name></object></annotation>"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'<?xml version="1.0" encoding="Big5"?>' + CAT.encode(), "multi-byte encodings are not supported"),
        (b'<?xml version="1.0" encoding="Shift_JIS"?>' + CAT.encode(), "multi-byte encodings are not supported"),
        (b'<?xml version="1.0" encoding="x-mac"?>' + CAT.encode(), "unknown encoding"),
        (b'<?xml version="1.0" encoding="rot13"?>' + CAT.encode(), "not a text encoding"),
        (b'<?xml version="1.0" encoding="idna"?>' + CAT.encode(), "idna"),
        (CAT.replace("cat", "Kätzchen").encode("latin-1"), "not well-formed"),
        (CAT.encode("utf-32"), "not well-formed"),
        (b"", "no element found"),
        (bytes(40), "not well-formed"),
        (CAT.encode()[:-9], "no element found|unclosed token"),
        (f'<!DOCTYPE a [<!ENTITY e0 "cat">{BOMB}]>{CAT.replace("cat", "&e9;")}'.encode(), "declares a document type"),
        (f'<!DOCTYPE a [<!ENTITY f SYSTEM "a.xml">]>{CAT.replace("cat", "&f;")}'.encode(), "declares a document type"),
        (f'<!DOCTYPE a SYSTEM "http://example.org/a.dtd">{CAT}'.encode(), "declares a document type"),
        (b"<html><object><name>cat</name></object></html>", "it is a <html>"),
        (b'<annotation xmlns="urn:a"><object/></annotation>', "it is a <{urn:a}annotation>"),
        (b"<annotation><object><name>dog</name></object><object/></annotation>", "object 2 has no name"),
        (b"<annotation><object><name> \n </name></object></annotation>", "object 1 has no name"),
        (b"<annotation><object><label>cat</label></object></annotation>", "object 1 has no name"),
    ],
)
def test_faulty_annotations_are_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.xml: .*({line}).*; ") as caught:
        from_xml(tmp_path, CLASSES).labels("a")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252", "us-ascii"])
def test_annotations_are_read_in_the_encodings_that_the_parser_knows(tmp_path: Path, encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>{CAT}'
    (tmp_path / "a.xml").write_bytes(declared.encode(encoding))
    assert from_xml(tmp_path, CLASSES).labels("a") == ("cat",)


def test_labels_from_masks_leave_out_background_and_ignore(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.array([[0, 3], [255, 1]], np.uint8))
    write_mask(tmp_path / "b.png", np.array([[0, 255]], np.uint8))
    write_mask(tmp_path / "c.png", np.array([[0, 4, 9]], np.uint8))
    labels = from_masks(tmp_path, CLASSES)
    assert labels.labels("a") == ("bird", "dog")
    assert labels.labels("b") == ()
    with pytest.raises(InputError, match=r"c\.png: mask holds 4, 9; class ids are 0\.\.3 and 255"):
        labels.labels("c")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("image_id,classes\na,cat;dog\nb,\n", {}),
        ("image_id,labels\na,dog ; cat;cat\nb,\n", {}),
        ("image_id,classes\na,dog cat\nb,\n", {"separator": " "}),
        ("note,image_id,tags\nx,a,cat|dog\ny,b,\n", {"column": "tags", "separator": "|"}),
        ("\ufeffimage_id,classes\r\na,cat;dog\r\nb,\r\n", {}),
    ],
)
def test_labels_from_a_table(tmp_path: Path, text: str, settings: dict[str, str]) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert everything(from_csv(tmp_path / "t.csv", CLASSES, **settings)) == {"a": ("cat", "dog"), "b": ()}


def test_faults_of_a_table_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image_id,classes\na,cat\nb,Cats\na,dog\n")
    labels = from_csv(path, CLASSES)
    with pytest.raises(InputError, match=r"t\.csv line 3: unknown class 'Cats', did you mean 'cat'\?"):
        labels.labels("b")
    with pytest.raises(InputError, match=r"t\.csv line 4: image id a is there twice, first at line 2"):
        labels.labels("a")
    path.write_text("image_id,classes,notes\na,cat,x\n")
    with pytest.raises(InputError, match="name it in the setting 'column'"):
        from_csv(path, CLASSES)
    with pytest.raises(InputError, match="the separator of class names is empty"):
        from_csv(path, CLASSES, separator="")
    with pytest.raises(InputError, match="column tags is missing"):
        from_csv(path, CLASSES, column="tags")


def test_labels_from_vectors(tmp_path: Path) -> None:
    np.save(
        tmp_path / "a.npy",
        {"a": np.array([0, 1, 1], np.float32), "b": np.zeros(3), "c": np.ones(4), "d": np.full(3, 0.5)},
    )
    labels = from_npy(tmp_path / "a.npy", CLASSES)
    assert labels.labels("a") == ("cat", "dog")
    assert labels.labels("b") == ()
    for image_id in "cd":
        with pytest.raises(InputError, match=f"entry {image_id} is not a vector of 3 zeros and ones"):
            labels.labels(image_id)


def test_missing_sources_are_one_line(tmp_path: Path) -> None:
    for source in (from_xml, from_masks, from_csv, from_npy):
        with pytest.raises(InputError, match="is missing") as caught:
            source(tmp_path / "nowhere", CLASSES)
        assert len(caught.value.problems) == 1
