"""What a model replied, as clusters or as faults. Replies are data: parsed as JSON, never evaluated."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pcc.clusters.partition import folded, shown, validate
from pcc.runtime.errors import InputError

STARTS = 2000  # places in a reply where JSON is looked for; prose has few brackets, an attack has many
LONGEST_NAME = 80
MOST_FAULTS = 40
NO_ANSWER = 'no JSON object of the form {"clusters": [{"name": ..., "members": [...]}]} in the answer'
# What begins a thought, what ends one, and what may begin JSON.
THOUGHT = r"(?:\w+:|\|)?(?:\w*(?:think|thought|reason|reflect)\w*|scratch_?pad|analysis)"
MARK = re.compile(
    rf"[<\[◁]{THOUGHT}(?:\s[^<>]*)?\|?[>\]▷]|([<\[◁]\|?/\|?{THOUGHT}\s*\|?[>\]▷])|([{{\[])", re.IGNORECASE
)
ENDS = re.compile(rf"[<\[◁]\|?/\|?{THOUGHT}\s*\|?[>\]▷]", re.IGNORECASE)
WANTED = re.compile(r"[{\[]\s*[\"']?clusters[\"']?\s*:", re.IGNORECASE)


class Cluster(BaseModel):
    """A cluster as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})
    name: str
    members: list[str]


class Answer(BaseModel):
    """The whole answer; its JSON schema is what servers with structured output are given."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})
    clusters: list[Cluster]


def read_reply(reply: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The clusters in a reply: an exact partition of ``names``.

    Raises:
        InputError: one line for each fault, fit to be shown to the model; nothing is put right in silence.
    """
    answer = _last_answer(reply, names)
    if answer is None:
        raise InputError(NO_ANSWER)
    titles = [cluster.name.strip() for cluster in answer.clusters]
    faults = list(_faults(titles, answer, names))
    if len(faults) > MOST_FAULTS:
        faults = [*faults[:MOST_FAULTS], f"and {len(faults) - MOST_FAULTS} faults more"]
    if faults:
        raise InputError(faults)
    return {title: cluster.members for title, cluster in zip(titles, answer.clusters, strict=True)}


def _faults(titles: Sequence[str], answer: Answer, names: Sequence[str]) -> Iterator[str]:
    for title, count in Counter(titles).items():
        if count > 1:
            yield f"cluster name {shown(title)} is given {count} times; merge those clusters or rename one"
        if not title or not title.isprintable() or len(title) > LONGEST_NAME:
            yield f"cluster name {shown(title)} is invalid; give a short one of plain letters"
    try:
        validate([cluster.members for cluster in answer.clusters], names)
    except InputError as error:
        yield from (problem.removeprefix("clusters: ") for problem in error.problems)


def _last_answer(reply: str, names: Sequence[str]) -> Answer | None:
    """The last outermost JSON value that is meant as an answer; None: there is none, or the last is damaged.

    Drafts do not count: what stands in a thought, or before another answer. A model concludes at the end, so an
    earlier answer never stands in for a faulty last one.

    Raises:
        InputError: the last answer repeats a key.
    """
    known = {folded(name) for name in names}
    last: Answer | InputError | None = None
    damaged = False  # an answer that is no JSON was begun; values inside it are no answers
    position = end = 0
    for _ in range(STARTS):
        mark = MARK.search(reply, position)
        if mark is None:
            break
        position = mark.end()
        if mark[1]:  # all before the end of a thought is the thought; templates may hide its beginning
            last, damaged, end = None, False, position
        elif not mark[2]:
            close = ENDS.search(reply, position)
            if close is None:  # it never concludes
                return None
            position = close.start()
        else:
            try:
                value, position = DECODER.raw_decode(reply, mark.start())
            except RepeatedKey as error:
                last, damaged, end = error, True, position
            except (ValueError, RecursionError):
                if WANTED.match(reply, mark.start()):
                    last, damaged, end = None, True, position
            else:
                named = isinstance(value, dict) and "clusters" in value
                if named or (not damaged and not known.isdisjoint(_texts(value))):
                    last, damaged, end = _answer(value), False, position
    else:
        return None  # the end was not reached
    if isinstance(last, InputError):
        raise last
    return None if damaged or _begun(reply[end:], names) else last


def _answer(value: Any) -> Answer | None:
    try:
        answer = Answer.model_validate(_usual_form(value))
    except ValidationError:
        return None
    return answer if answer.clusters else None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of JSON, keys too, as `folded`."""
    if isinstance(value, str):
        yield folded(value)
    elif isinstance(value, list | dict):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(item)


def _begun(text: str, names: Sequence[str]) -> bool:
    """Whether a list of class names begins in a text without JSON: cut short, in single quotes or in none."""
    some = "|".join(re.escape(name) for name in names)
    return re.search(rf"""\[\s*["'“‘`]?(?:{some})["'”’`]?\s*(?:,|\]|$)""", text, re.IGNORECASE) is not None


class RepeatedKey(InputError):
    """An object of JSON gives one key twice."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a later key overwrite an earlier one; here that would drop members without a word."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise RepeatedKey(f"{shown(key)} is a key {count} times in one object; give each once")
    return dict(pairs)


def _usual_form(value: Any) -> Any:
    """``{name: [members]}`` and bare lists, which models without structured output like to write, as asked for."""
    groups = value.get("clusters", value) if isinstance(value, dict) else value
    if isinstance(groups, dict):
        groups = [{"name": name, "members": group} for name, group in groups.items()]
    elif isinstance(groups, list) and all(isinstance(group, list) for group in groups):
        groups = [{"name": f"cluster {number}", "members": group} for number, group in enumerate(groups, 1)]
    return {"clusters": groups}


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)
