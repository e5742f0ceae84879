"""Clusters by a language model, asked through OpenAI's protocol: OpenAI, Azure, vLLM, Ollama, llama.cpp and others."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pcc.clusters.chat import KEY, Chat
from pcc.clusters.partition import consensus, named
from pcc.clusters.prompts import Prompts, read_yaml
from pcc.clusters.providers import Proposal, Task
from pcc.clusters.secrets import RUN
from pcc.clusters.self_refining import Conversation, NeverValid, Outcome
from pcc.clusters.transcript import Transcript, digest
from pcc.runtime.errors import InputError, call_with
from pcc.runtime.progress import log
from pcc.runtime.resources import packaged
from pcc.runtime.settings import Count, File, Rule, Seed, Text, limits

TRANSCRIPT = "transcript.jsonl"
WHERE = "clusters (openai)"
Times = Annotated[int, limits(ge=0, le=100)]


@dataclass(frozen=True)
class Settings:
    """The provider's settings.

    Attributes:
        model: the server's name of the model.
        base_url: URL of the server; None: ``OPENAI_BASE_URL``, else OpenAI.
        temperature: sampling temperature; None: the server's, as some models demand.
        seed: sampling seed, +1 for each further sample; None: not sent.
        samples: independent conversations, to see how stable the answer is; use a temperature above 0.
        max_rounds: refinement rounds.
        max_repairs: how often an invalid answer is sent back.
        names_per_request: longer class lists are split into several requests.
        max_tokens: limit of a reply; None: the server's.
        timeout: read timeout; an attempt as a whole may take twice as long.
        max_retries: retries after HTTP 408, 409, 429, 5xx and broken connections.
        max_reply_bytes: limit of one HTTP body.
        structured: ``auto`` requests JSON by schema until the server refuses it.
        options: extra request fields, such as Ollama's ``options: {num_ctx: 8192}``.
        prompts: file of prompt templates; None: the packaged ones.
        descriptions: YAML file, class name → one line of description.
    """

    model: Text
    base_url: Text | None = None
    temperature: Annotated[float, limits(ge=0, le=10)] | None = 0.0
    seed: Seed | None = 0
    samples: Annotated[int, limits(ge=1, le=1000)] = 1
    max_rounds: Times = 5
    max_repairs: Times = 3
    names_per_request: Count = 200
    max_tokens: Annotated[int, limits("tokens", ge=1, le=10_000_000)] | None = None
    timeout: Annotated[float, limits("seconds", gt=0, le=86_400)] = 120.0
    max_retries: Times = 4
    max_reply_bytes: Annotated[int, limits("bytes", ge=1, le=1_000_000_000)] = 2_000_000
    structured: Literal["auto", "never"] = "auto"
    options: Annotated[dict[str, Any], Rule("plain", 10**9)] | None = None
    prompts: File | None = None
    descriptions: File | None = None

    def sampling(self, number: int) -> dict[str, Any]:
        """The fields of a request that shape its reply, for the sample of this number."""
        seed = None if self.seed is None else self.seed + number
        fields = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": seed}
        return {name: v for name, v in {**fields, "extra_body": self.options}.items() if v is not None}


def propose(task: Task, **settings: Any) -> Proposal:
    """Hold one conversation per sample, and take the consensus of several.

    Args:
        task: the names to partition.
        settings: see `Settings`.

    Raises:
        InputError: see `Settings`, `Chat` and `Conversation`; the transcript stays for reading.
    """
    chosen = call_with(Settings, settings, WHERE)
    wording, names = read_prompts(task, chosen), task.names
    transcript = Transcript(task.folder / TRANSCRIPT, task.replay)
    bounds = (chosen.timeout, chosen.max_retries, chosen.max_reply_bytes)
    chat = Chat(transcript, chosen.base_url, *bounds, chosen.structured)
    if len(chat.key) >= RUN and chat.key in json.dumps(settings, default=str):
        raise InputError(f"{WHERE}: a setting holds the key, and files show settings; remove it, {KEY} is enough")
    limits = (chosen.max_rounds, chosen.max_repairs, chosen.names_per_request)
    parts = chosen.samples * -(-len(names) // chosen.names_per_request)
    worst = parts * (1 + chosen.max_rounds) * (1 + chosen.max_repairs)
    log.info("%d names: %d questions if all goes well, about %d at most", len(names), 2 * parts, worst)
    outcomes: list[Outcome] = []
    try:
        for number in range(chosen.samples):
            ask = partial(chat.ask, chosen.model, chosen.sampling(number))
            outcomes.append(Conversation(ask, wording, *limits).run(names))
    except InputError as error:
        if isinstance(error, NeverValid):
            transcript.give_up(1 + chosen.max_repairs)
        where = f"every word is in {task.replay or transcript.path}"
        raise InputError([f"clusters ({chosen.model}): {p}; {where}" for p in error.problems]) from None
    transcript.finish()
    replies = transcript.replies
    log.info("%d replies, %d of them kept from an earlier run", len(replies), len(replies) - chat.sent)
    found, told = consensus([outcome.clusters for outcome in outcomes]), wording.descriptions
    details = {
        "prompts": {"version": wording.version, "sha256": wording.digest},
        "descriptions_sha256": digest([told]) if told else None,
        "models": sorted({reply.model for reply in replies}),
        "requests": len(replies),
        "tokens": sum(reply.usage.get("total_tokens", 0) for reply in replies),
        "agreement": found.agreement if chosen.samples > 1 else None,
        "samples": [vars(outcome) for outcome in outcomes],
    }
    clusters = outcomes[0].clusters if chosen.samples == 1 else named(found, [outcome.clusters for outcome in outcomes])
    return Proposal(clusters, details)


def preview(task: Task, **settings: Any) -> str:
    """The first request as it would be sent; nothing is."""
    chosen = call_with(Settings, settings, WHERE)
    messages = read_prompts(task, chosen).initial(task.names[: chosen.names_per_request])
    return "\n\n".join(f"--- {message['role']} ---\n{message['content'].rstrip()}" for message in messages)


def read_prompts(task: Task, chosen: Settings) -> Prompts:
    """The templates, with a description for as many class names as there is one.

    Raises:
        InputError: an unusable file, or descriptions of what is no class.
    """
    descriptions = chosen.descriptions
    told = {} if descriptions is None else read_yaml(Path(descriptions))
    faults = [f"{descriptions}: '{name}' is none of the class names" for name in told if name not in task.names]
    faults += [
        f"{descriptions}: the description of '{name}' is not one line of text"
        for name, text in told.items()
        if not isinstance(text, str) or "\n" in text.strip()
    ]
    if faults:
        raise InputError(faults)
    return Prompts.read(Path(chosen.prompts) if chosen.prompts else packaged("prompts/clusters.yaml"), told)
