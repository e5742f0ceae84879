"""What of a model's words is its answer: the last one, and nothing in its place."""

import json

import pytest

from pcc.clusters.partition import same
from pcc.clusters.replies import read_reply
from pcc.runtime.errors import InputError

NAMES = ("bird", "boat", "bus", "dining table", "tv/monitor")
GOOD = {"things": ["boat", "bus"], "rest": ["bird", "dining table", "tv/monitor"]}
OTHER = {"all": list(NAMES)}


def asked_for(clusters: dict[str, list[str]]) -> str:
    return json.dumps({"clusters": [{"name": n, "members": m} for n, m in clusters.items()]})


DRAFT, ANSWER = asked_for(OTHER), asked_for(GOOD)
FAULTY = ANSWER.replace(', "bus"', "")


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{DRAFT}</think>{ANSWER}",
        f"<THINKING budget='9'>\n{DRAFT}\n</THINKING >\n{ANSWER}",
        f"{DRAFT} hidden beginning </reasoning> {ANSWER}",
        f"<think>a <think>b</think> {DRAFT}</think>{ANSWER}",
        f"[THINK]{DRAFT}[/THINK]{ANSWER}",
        f"◁think▷{DRAFT}◁/think▷{ANSWER}",
        f"<seed:think>{{{{[[ {DRAFT[:-9]}</seed:think>{ANSWER}",
        f"<|thinking|>{DRAFT}<|/thinking|>{ANSWER}",
        f"```json\n```json\n{DRAFT}\n```\n```\nBetter:\n````\n```\n{ANSWER}\n```\n````",
        f"\ufeff{ANSWER}",
        f"{DRAFT[:-9]} ... no: {ANSWER}",
        f"{ANSWER}\nI left out nothing [see above] {{really}} {{'a': 1}} [1, 2",
        f"{ANSWER} {json.dumps({'notes': ['none']})}",
        asked_for({"<think>": GOOD["things"], "</think>": GOOD["rest"]}),
        "{" * 500 + ANSWER,
    ],
)
def test_the_last_answer_counts(reply: str) -> None:
    assert same(read_reply(reply, NAMES), GOOD)


NONE, MISSING = "no JSON object of the form", "'bus' is missing"


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        (FAULTY, MISSING),
        (f"</think>{FAULTY}", MISSING),
        (f"</reflection>\n```json\n{FAULTY}\n```", MISSING),
        (json.dumps({"clusters": {**GOOD, "things": ["boat"]}}), MISSING),
        (json.dumps([["boat"], GOOD["rest"]]), MISSING),
        (ANSWER[:-3], NONE),
        (ANSWER[:60], NONE),
        (json.dumps(GOOD)[:-1], NONE),
        (str(json.loads(ANSWER)), NONE),
        (ANSWER.replace("]}", ",]}"), NONE),
        ("{clusters: [{name: all, members: [bird, boat, bus]}]}", NONE),
        ("{all: [bird, boat, bus]}", NONE),
        ('{"clusters": []}', NONE),
        ('{"clusters": null}', NONE),
        (json.dumps({"groups": GOOD}), NONE),
        ("<thinking>not sure yet", NONE),
        ("</think>I cannot do this.", NONE),
        ("[[" * 3000 + ANSWER, NONE),
        ('{"clusters": [], "clusters": [["boat"]]}', "'clusters' is a key 2 times"),
        (asked_for({**GOOD, "things": ["boat", "BUS"]}), "'BUS' is unknown; write it as 'bus'"),
        (asked_for({**GOOD, "things": ["boat", "bus\u200b"]}), "unknown; write it as 'bus'"),
        (asked_for({**GOOD, "rest": ["bird", "Dining  table ", "tv/monitor"]}), "write it as 'dining table'"),
        (asked_for({**GOOD, "rest": ["bird", "dining\u00a0table", "tv/monitor"]}), "write it as 'dining table'"),
    ],
)
def test_an_earlier_answer_does_not_stand_in(last: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        read_reply(f"{ANSWER}\n{last}", NAMES)
    assert any(fault in problem for problem in caught.value.problems), caught.value.problems
