"""Clusters by a language model, asked through OpenAI's protocol: OpenAI, Azure, vLLM, Ollama, llama.cpp and others."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pcc.clusters.chat import Chat, address_of
from pcc.clusters.partition import Consensus, consensus
from pcc.clusters.prompts import DEFAULT, Message, Prompts, read_yaml
from pcc.clusters.providers import Proposal, Task
from pcc.clusters.self_refining import Conversation, Outcome, free_name
from pcc.clusters.transcript import Replay, Reply, Request, Transcript, is_finished
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log

TRANSCRIPT = "transcript.jsonl"


def propose(
    task: Task,
    *,
    model: str,
    base_url: str | None = None,
    temperature: float | None = 0.0,
    seed: int | None = 0,
    samples: int = 1,
    max_rounds: int = 5,
    max_repairs: int = 3,
    names_per_request: int = 200,
    max_tokens: int | None = None,
    timeout: float = 120.0,
    max_retries: int = 4,
    max_reply_bytes: int = 2_000_000,
    structured: Literal["auto", "never"] = "auto",
    options: Mapping[str, Any] | None = None,
    prompts: str | None = None,
    descriptions: str | None = None,
) -> Proposal:
    """Hold one conversation per sample, and take the consensus of several.

    Args:
        task: the names to partition.
        model: as the server calls it.
        base_url: see `Chat`; ``timeout``, ``max_retries``, ``max_reply_bytes`` and ``structured`` too.
        temperature: of sampling; None leaves it to the server, as some models demand.
        seed: of sampling, one more for each further sample; None leaves it out.
        samples: conversations. Several of them show how stable the answer is; they want a temperature above 0.
        max_rounds: see `Conversation`; ``max_repairs`` and ``names_per_request`` too.
        max_tokens: most tokens of one reply; None leaves it to the server.
        options: further fields of the request that a server knows, such as Ollama's ``options: {num_ctx: 8192}``.
        prompts: file of templates; None: the one that comes with PCC.
        descriptions: YAML file, class name → one line about it.

    Raises:
        InputError: see `Chat` and `Conversation`; the transcript stays for reading.
    """
    if min(samples, names_per_request) < 1 or min(max_rounds, max_repairs, max_retries) < 0:
        raise InputError(
            "clusters (openai): samples and names_per_request start at 1, max_rounds, max_repairs and max_retries at 0"
        )
    wording = read_prompts(task, prompts, descriptions)
    fields = {"temperature": temperature, "max_tokens": max_tokens, "extra_body": options}
    fixed = {name: value for name, value in fields.items() if value is not None}
    limits = (max_rounds, max_repairs, names_per_request)
    told, asked = wording.descriptions, (model, address_of(base_url), fixed, seed, samples, structured)
    purpose = _digest(task.names, told, wording.digest, asked, limits, task.code)
    record = task.folder / TRANSCRIPT
    source = task.replay or (record if is_finished(record, purpose) else None)
    if source is None:
        door: Replay | Chat = Chat(
            Transcript(record), base_url, timeout, max_retries, max_reply_bytes, structured
        )
        _tell_cost(len(task.names), samples, limits, model)
    else:
        door = Replay(source)
        log.info("nobody is asked: the replies are those in %s", source)
    replies: list[Reply] = []
    outcomes: list[Outcome] = []
    try:
        for number in range(samples):
            sampling = fixed if seed is None else {**fixed, "seed": seed + number}

            def ask(messages: list[Message], sampling: Mapping[str, Any] = sampling) -> str:
                replies.append(door.ask(Request(model, messages, sampling)))
                if replies[-1].finish == "length":
                    log.warning("the server cut the reply at its limit of tokens; raise max_tokens")
                return replies[-1].text

            outcomes.append(Conversation(ask, wording, *limits).run(task.names))
    except InputError as error:
        where = f"every word is in {source or record}"
        raise InputError([f"clusters ({model}): {p}; {where}" for p in error.problems]) from None
    if isinstance(door, Chat):
        door.transcript.finish(purpose)
    found = consensus([outcome.clusters for outcome in outcomes])
    details = {
        "prompts": {"version": wording.version, "sha256": wording.digest},
        "descriptions_sha256": _digest(told) if told else None,
        "models": sorted({reply.model for reply in replies}),
        "requests": len(replies),
        "tokens": sum(int(reply.usage.get("total_tokens", 0)) for reply in replies),
        "agreement": found.agreement if samples > 1 else None,
        "samples": [vars(outcome) for outcome in outcomes],
    }
    clusters = outcomes[0].clusters if samples == 1 else named(found, outcomes)
    return Proposal(clusters, details)


def preview(
    task: Task,
    *,
    names_per_request: int = 200,
    prompts: str | None = None,
    descriptions: str | None = None,
    **others: Any,
) -> str:
    """The first request as it would be sent; nothing is."""
    if unknown := sorted(set(others) - set(inspect.signature(propose).parameters)):
        raise InputError(f"clusters (openai): unknown setting '{unknown[0]}'")
    if names_per_request < 1:
        raise InputError("clusters (openai): names_per_request starts at 1")
    messages = read_prompts(task, prompts, descriptions).initial(task.names[:names_per_request])
    return "\n\n".join(f"--- {message['role']} ---\n{message['content'].rstrip()}" for message in messages)


def read_prompts(task: Task, prompts: str | None, descriptions: str | None) -> Prompts:
    """The templates, with a description for as many class names as there is one.

    Raises:
        InputError: an unusable file, or descriptions of what is no class.
    """
    told = {} if descriptions is None else read_yaml(Path(descriptions))
    faults = [
        f"{descriptions}: '{name}' is none of the class names" for name in told if name not in task.names
    ]
    faults += [
        f"{descriptions}: the description of '{name}' is not one line of text"
        for name, text in told.items()
        if not isinstance(text, str) or "\n" in text.strip()
    ]
    if faults:
        raise InputError(faults)
    return Prompts.read(DEFAULT if prompts is None else Path(prompts), told)


def named(found: Consensus, outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Each consensus cluster under the name of the cluster, of any sample, that it overlaps most (Jaccard index)."""
    names: dict[str, list[str]] = {}
    for group in found.clusters:
        ranked = sorted(
            (-len(set(group) & set(members)) / len(set(group) | set(members)), number, name)
            for number, outcome in enumerate(outcomes)
            for name, members in outcome.clusters.items()
            if set(group) & set(members)
        )
        # Samples that all use the same few names may leave none for a further cluster.
        wanted = [name for _, _, name in ranked]
        names[next((name for name in wanted if name not in names), free_name(wanted[0], names))] = list(group)
    return names


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _tell_cost(names: int, samples: int, limits: tuple[int, int, int], model: str) -> None:
    rounds, repairs, most = limits
    parts = -(-names // most)
    least, worst = samples * parts * 2, samples * parts * (1 + rounds) * (1 + repairs)
    log.info(
        "asking %s about %d names: %d requests if all goes well, about %d at most", model, names, least, worst
    )
