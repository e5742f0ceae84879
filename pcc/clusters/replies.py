"""What a model replied, as clusters or as faults. Replies are data: parsed as JSON, never evaluated."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pcc.clusters.partition import shown, validate
from pcc.runtime.errors import InputError

STARTS = 200  # places in a reply where JSON is looked for; prose has few braces, an attack has many
LONGEST_NAME = 80
MOST_FAULTS = 40
OPENING = re.compile(r"[{\[]")


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
    faults = ['no JSON object of the form {"clusters": [{"name": ..., "members": [...]}]} in the answer']
    for answer in reversed(list(_answers(reply))):  # a model that thinks aloud concludes at the end
        titles = [cluster.name.strip() for cluster in answer.clusters]
        found = list(_faults(titles, answer, names))
        if not found:
            return {title: cluster.members for title, cluster in zip(titles, answer.clusters, strict=True)}
        faults = found if len(faults) == 1 else faults
    if len(faults) > MOST_FAULTS:
        faults = [*faults[:MOST_FAULTS], f"and {len(faults) - MOST_FAULTS} faults more"]
    raise InputError(faults)


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


def _answers(reply: str) -> Iterator[Answer]:
    """Every outermost JSON value in a text that reads as an answer."""
    position = 0
    for _ in range(STARTS):
        start = OPENING.search(reply, position)
        if start is None:
            return
        try:
            value, position = DECODER.raw_decode(reply, start.start())
            answer = Answer.model_validate(_usual_form(value))
        except ValidationError:
            continue
        except (ValueError, RecursionError):
            position = start.end()
            continue
        if answer.clusters:
            yield answer


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a later key overwrite an earlier one; here that would drop members without a word."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise InputError(f"{shown(key)} is a key {count} times in one object; give each once")
    return dict(pairs)


def _usual_form(value: Any) -> Any:
    """``{name: [members]}`` and bare lists, which models without structured output like to write, as asked for."""
    groups = value.get("clusters", value) if isinstance(value, dict) else value
    if isinstance(groups, dict):
        groups = [{"name": name, "members": group} for name, group in groups.items()]
    elif isinstance(groups, list) and all(isinstance(group, list) for group in groups):
        groups = [{"name": f"cluster {number}", "members": group} for number, group in enumerate(groups, 1)]
    return {"clusters": groups}


DECODER = json.JSONDecoder(object_pairs_hook=_unique)
