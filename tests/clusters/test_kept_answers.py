"""What is asked again, and what is not: requests counted at a real server."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import ChatServer, fails, names_asked, says, sorts

from pcc.clusters import chat, self_refining
from pcc.clusters.providers import Task
from pcc.clusters.providers.openai import propose
from pcc.data.manifest import Dataset, Manifest, Record
from pcc.runtime.errors import InputError
from pcc.runtime.resources import packaged
from pcc.stages.clusters import clusters

NAMES = ("bird", "boat", "bus", "cat", "dog")
MODEL = sorts(lambda name: name[0])
SETTINGS: dict[str, Any] = {"model": "parrot", "samples": 2, "max_retries": 0, "max_repairs": 2}
A_RUN = 2  # questions of one sample: a proposal, and a round that changes nothing


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(NAMES, None, tmp_path / "results")


@pytest.fixture
def ask(server: ChatServer, task: Task) -> Callable[..., list[dict[str, Any]]]:
    """The requests that a run sends."""
    server.script = [MODEL]

    def run(names: tuple[str, ...] = NAMES, **changed: Any) -> list[dict[str, Any]]:
        before = len(server.bodies)
        asked = replace(task, names=names)
        propose(asked, **{**SETTINGS, "base_url": server.address, **changed})
        return server.bodies[before:]

    return run


def lines(task: Task, name: str = "transcript.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (task.folder / name).read_text().splitlines()]


def other_prompts(folder: Path) -> str:
    stored = yaml.safe_load(packaged("prompts/clusters.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(stored | {"system": "Group well."}))
    return str(path)


def told(folder: Path) -> str:
    path = folder / "told.yaml"
    path.write_text("bus: a road vehicle\n")
    return str(path)


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({}, 0),
        ({"timeout": 7.0, "max_retries": 1, "max_reply_bytes": 1_000_000}, 0),
        ({"max_rounds": 9, "max_repairs": 5}, 0),
        ({"samples": 1}, 0),
        ({"samples": 3}, A_RUN),
        ({"model": "cockatoo"}, 2 * A_RUN),
        ({"names": (*NAMES, "eel")}, 2 * A_RUN),
        ({"temperature": 0.5}, 2 * A_RUN),
        ({"temperature": None}, 2 * A_RUN),
        ({"seed": None}, 2 * A_RUN),
        ({"seed": 1}, A_RUN),  # the second sample's seed is the first one's now
        ({"max_tokens": 99}, 2 * A_RUN),
        ({"options": {"num_ctx": 8192}}, 2 * A_RUN),
        ({"structured": "never"}, 2 * A_RUN),
        ({"prompts": other_prompts}, 2 * A_RUN),
        ({"descriptions": told}, 2),  # part of the first question only
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)  # fmt: skip
def test_only_new_questions_are_asked(
    ask: Callable[..., list[Any]], tmp_path: Path, changed: dict[str, Any], asked: int
) -> None:
    assert len(ask()) == 2 * A_RUN
    changed = {key: value(tmp_path) if callable(value) else value for key, value in changed.items()}
    assert len(ask(**changed)) == asked
    assert not ask(**changed)


def test_another_server_is_asked_anew(ask: Callable[..., list[Any]], task: Task) -> None:
    ask()
    other = ChatServer()
    try:
        other.script = [MODEL]
        assert not ask(base_url=other.address) and len(other.bodies) == 2 * A_RUN
    finally:
        other.close()


def test_another_schema_is_another_question(ask: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    monkeypatch.setattr(chat, "STRUCTURED", {**chat.STRUCTURED, "json_schema": {"name": "groups"}})
    assert len(ask()) == 2 * A_RUN


def test_samples_that_begin_alike_keep_their_own_replies(
    ask: Callable[..., list[Any]], server: ChatServer, task: Task
) -> None:
    """Without a seed all samples send the same first question."""
    answers = [json.dumps({"a": NAMES[:n], "b": NAMES[n:]}) for n in (1, 2, 3)]
    server.script = [says(answer) for answer in answers]
    ask(seed=None, max_rounds=0, samples=2)
    settings = {**SETTINGS, "base_url": server.address, "seed": None, "max_rounds": 0}
    found = propose(task, **{**settings, "samples": 3})
    assert len(server.bodies) == 3
    firsts = [sample["clusters"]["a"] for sample in found.details["samples"]]
    assert firsts == [list(NAMES[:n]) for n in (1, 2, 3)]


def test_another_manifest_or_other_code_asks_nothing(server: ChatServer, tmp_path: Path) -> None:
    server.script = [MODEL]
    for number, code in enumerate(("old", "new")):
        record = Record(f"image {number}", tmp_path / "a.png", ("cat",), None, "train", "000")
        Manifest(Dataset("toy", NAMES), (record,)).write(tmp_path / "data")
        settings = {"provider": "openai", "base_url": server.address, **SETTINGS}
        clusters(tmp_path / "data/manifest.csv", tmp_path / "out/clusters.json", code=code, **settings)
        assert len(server.bodies) == 2 * A_RUN


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
@pytest.mark.parametrize("torn", [b"", b'{"digest": "12', b'{"digest": "\xc3'])
def test_a_killed_run_continues(
    ask: Callable[..., list[Any]], task: Task, server: ChatServer, kept: int, torn: bytes
) -> None:
    ask()
    path = task.folder / "transcript.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:kept]) + torn)
    assert len(ask()) == 2 * A_RUN - kept
    assert len(lines(task)) == len(whole), "neither the torn line nor anything twice"
    replay_is_whole(task, server)


def test_a_failed_exchange_is_asked_again_and_what_came_before_is_kept(
    ask: Callable[..., list[Any]], task: Task, server: ChatServer
) -> None:
    server.script = [MODEL, MODEL, fails(500)]
    with pytest.raises(InputError, match="answered 500"):
        ask()
    server.script = [MODEL]
    assert [body["seed"] for body in ask()] == [1, 1]
    assert all("reply" in line for line in lines(task))
    assert "error" in lines(task, "transcript.previous.jsonl")[2]
    replay_is_whole(task, server)


def test_an_answer_that_stayed_faulty_is_asked_for_again(
    ask: Callable[..., list[Any]], task: Task, server: ChatServer
) -> None:
    server.script = [MODEL, MODEL, says("no idea")]
    with pytest.raises(InputError, match="after 2 repairs"):
        ask()
    assert len(lines(task)[-1]["given_up"]) == 3
    server.script = [MODEL]
    assert len(ask()) == A_RUN, "the first sample's are kept"
    replay_is_whole(task, server)


def test_a_changed_judge_asks_only_what_follows(
    ask: Callable[..., list[Any]], task: Task, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask()
    judge = self_refining.read_reply

    def stricter(reply: str, names: Any) -> dict[str, list[str]]:
        found = judge(reply, names)
        if "d" in found:
            raise InputError("no cluster may be called d")
        return found

    monkeypatch.setattr(self_refining, "read_reply", stricter)
    server.script = [sorts(lambda name: "pet" if name == "dog" else name[0])]
    asked = ask()
    assert ["no cluster may be called d" in body["messages"][-1]["content"] for body in asked] == [True, False] * 2
    assert all(sorted(names_asked(body)) == sorted(NAMES) for body in asked)
    assert not ask()
    replay_is_whole(task, server)


def replay_is_whole(task: Task, server: ChatServer) -> None:
    """A copy of the transcript gives the answer again, without a server, wherever it was recorded."""
    copy = task.folder.with_name("copy.jsonl")
    copy.write_bytes((task.folder / "transcript.jsonl").read_bytes())
    before = len(server.bodies)
    found = propose(replace(task, folder=task.folder / "none", replay=copy), **SETTINGS, base_url="http://elsewhere/v1")
    assert found == propose(task, **SETTINGS, base_url=server.address)
    assert len(server.bodies) == before and not (task.folder / "none").exists()
