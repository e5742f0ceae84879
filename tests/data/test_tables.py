"""Names in CSV: no spreadsheet runs them, and our reader gives them back."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcc.data.manifest import Dataset, Manifest, Record
from pcc.data.tables import csv_text, guarded, read_table, unguarded

FORMULAS = (
    "=1+1",
    '=HYPERLINK("http://e.invalid";"x")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    "'=1",
    "--1",
    "+",
)
PLAIN = ("cat", "-1", "+2.5", "-.5e-3", "'tis", "''", "", "a=b", "1-2", "NA", "null", "nan", "a,b", 'a"b', "a;b", " =1")


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_guarded(name: str) -> None:
    assert guarded(name) == f"'{name}"
    assert unguarded(guarded(name)) == name


@pytest.mark.parametrize("name", PLAIN)
def test_other_cells_stay(name: str) -> None:
    assert guarded(name) == unguarded(name) == name


@given(st.text(alphabet="'=+-@\t\r1.e a"))
def test_every_text_comes_back(text: str) -> None:
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("value", [-1, -1.5, None, True, float("nan")])
def test_numbers_stay_numbers(value: object) -> None:
    assert guarded(value) is value


def test_tables_come_back(tmp_path: Path) -> None:
    names = [*FORMULAS, *PLAIN]
    path = tmp_path / "names.csv"
    path.write_text(csv_text(("name", "n"), [(name, -1.5) for name in names]), encoding="utf-8", newline="")
    assert [(row["name"], row["n"]) for _, row in read_table(path)] == [(name, "-1.5") for name in names]
    stored = [row[0] for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))][1:]
    assert not [cell for cell in stored if cell.startswith(("=", "@", "\t", "\r"))]


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    classes = tuple(name for name in (*FORMULAS, *PLAIN) if name.strip() == name != "" and ";" not in name)
    record = Record("-x", Path("-folder/=a.png"), (), None, "train", "000")
    records = [
        replace(record, image_id=f"{name}x".replace("/", "÷"), labels=(name, classes[n - 1]))
        for n, name in enumerate(classes)
    ]
    Manifest(Dataset("toy", classes), tuple(records)).write(tmp_path)
    found = Manifest.read(tmp_path / "manifest.csv").records
    assert [(r.image_id, r.image, r.labels) for r in found] == [(r.image_id, r.image, r.labels) for r in records]
