import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pcc.clusters.partition import same, validate
from pcc.clusters.providers import Task, file, none, one, random, taxonomy
from pcc.runtime.errors import InputError

NAMES = ("bird", "boat", "bus", "cat", "chair", "dog")
TAXONOMY = {"animal": ("bird", "cat", "dog"), "vehicle": ("boat", "bus"), "chair": ("chair",)}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(NAMES, TAXONOMY, tmp_path)


def test_taxonomy_is_the_data_sets_own(task: Task) -> None:
    assert taxonomy.propose(task).clusters == TAXONOMY


def test_none_has_no_clusters(task: Task) -> None:
    assert none.propose(task).clusters == {}


def test_one_has_all_names_in_one_cluster(task: Task) -> None:
    assert list(one.propose(task).clusters.values()) == [NAMES]


def test_samples_in_a_file_give_their_consensus(task: Task) -> None:
    groups = [[["cat", "dog", "bird"], ["boat", "bus"], ["chair"]]] * 2 + [
        [["cat", "dog"], ["bird", "boat", "bus", "chair"]]
    ]
    samples = [{"clusters": [{"name": f"{group[0]}s", "members": group} for group in sample]} for sample in groups]
    path = task.folder / "samples.json"
    path.write_text(json.dumps({"asked": "by hand", "samples": samples}))
    found = file.propose(task, path=str(path))
    assert found.clusters == {"cats": ["bird", "cat", "dog"], "boats": ["boat", "bus"], "chairs": ["chair"]}
    assert len(found.details["samples"]) == 3 and 0 < found.details["agreement"] < 1
    path.write_text(json.dumps({"samples": [{"clusters": [["cat", "dog"]]}]}))
    with pytest.raises(InputError, match="'bird' is missing"):
        file.propose(task, path=str(path))
    path.write_text(json.dumps({"samples": [{"clusters": "cats"}]}))
    with pytest.raises(InputError, match="sample 1: no clusters; write"):
        file.propose(task, path=str(path))


def test_random_keeps_the_sizes_and_follows_the_seed(task: Task) -> None:
    found = [list(random.propose(task, seed=seed).clusters.values()) for seed in range(30)]
    for groups in found:
        validate(groups, NAMES)
        assert [len(group) for group in groups] == [3, 2, 1]
    assert list(random.propose(task, seed=7).clusters.values()) == found[7]
    assert len({frozenset(map(frozenset, groups)) for groups in found}) > 10
    reordered = Task(NAMES[::-1], TAXONOMY, task.folder)
    assert list(random.propose(reordered, seed=7).clusters.values()) == found[7]


@pytest.mark.parametrize("provider", [taxonomy, random])
def test_without_a_taxonomy_there_is_one_line(tmp_path: Path, provider: Any) -> None:
    with pytest.raises(InputError, match="has no taxonomy"):
        provider.propose(Task(NAMES, None, tmp_path))


LISTS = [list(names) for names in TAXONOMY.values()]


@pytest.mark.parametrize(
    "content",
    [
        dict(zip(TAXONOMY, LISTS, strict=True)),
        LISTS,
        {"provider": "file", "clusters": [{"name": n, "members": m} for n, m in zip(TAXONOMY, LISTS, strict=True)]},
    ],
    ids=["mapping", "lists", "clusters.json"],
)
@pytest.mark.parametrize("write", [json.dumps, yaml.dump])
def test_a_file_in_any_usual_form(task: Task, content: Any, write: Any) -> None:
    path = task.folder / "mine"
    path.write_text(write(content))
    assert same(file.propose(task, path=str(path)).clusters, TAXONOMY)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "no clusters"),
        ("{}", "no clusters"),
        ("[]", "no clusters"),
        ("pets: cat", "no clusters"),
        ("[{name: pets}]", "no clusters"),
        ("a: [", "neither YAML nor JSON"),
        ("5", "no clusters"),
    ],
)
def test_an_unusable_file_is_one_line(task: Task, content: str, line: str) -> None:
    path = task.folder / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=line) as caught:
        file.propose(task, path=str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(task: Task) -> None:
    with pytest.raises(InputError, match="file of clusters is missing"):
        file.propose(task, path=str(task.folder / "nowhere"))
