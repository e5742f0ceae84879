from pathlib import Path

import pytest

from pcc.data.classes import read_classes
from pcc.runtime.errors import InputError


def test_names_and_numbers_are_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("classes: [cat, 7, 'no']\ntaxonomy: {animals: [cat], 1: [7]}\n")
    assert read_classes(str(tmp_path / "a.yaml")) == (("cat", "7", "no"), {"animals": ("cat",), "1": ("7",)})
    assert read_classes(["cat", "7"]) == (("cat", "7"), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat",
        "[cat, dog]",
        "classes: cat",
        "classes: {cat: 1}",
        "classes: null",
        "classes: 3",
        "classes: [yes, no]",
        "classes: [cat, null]",
        "classes: [cat, [dog]]",
        "classes: [2024-01-01]",
        "classes: [2024-13-45]",
        "classes: [cat]\ntaxonomy: [cat]",
        "classes: [cat]\ntaxonomy: {animals: cat}",
        "classes: [cat]\ntaxonomy: {animals: [on]}",
        "classes: [cat",
        "classes: " + "[" * 5000,
        "classes: [!!python/name:os.system x]",
        "classes: [\udce9]",
    ],
)
def test_other_lists_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"a\.yaml: ") as caught:
        read_classes(str(tmp_path / "a.yaml"))
    assert len(str(caught.value).splitlines()) == 1
