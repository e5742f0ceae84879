from pathlib import Path

import pytest

from pcc.data.classes import read_classes
from pcc.runtime.errors import InputError
from pcc.runtime.resources import find_list, packaged

ROOT = Path(__file__).parents[2]


def test_a_list_is_a_path_or_a_packaged_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("classes: [cat, dog]\n")
    assert read_classes(str(path)) == (("cat", "dog"), None)
    assert read_classes("voc12") == read_classes(str(ROOT / "resources/voc12.yaml"))
    assert len(read_classes("coco14")[0]) == 80
    assert "sky" in find_list("nouns", ".txt", "word list").read_text("utf-8").split()


def test_neither_lists_both_possibilities() -> None:
    with pytest.raises(InputError) as caught:
        read_classes("voc21")
    assert caught.value.problems == [
        "voc21: class list is missing; give the path of a .yaml file or one of coco14, voc12"
    ]


def test_the_prompts_come_with_the_package() -> None:
    assert packaged("prompts/clusters.yaml").is_file()
