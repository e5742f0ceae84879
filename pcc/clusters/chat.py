"""The one door to a language model: any server that speaks OpenAI's chat-completions protocol."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import Thread
from typing import Any, Literal

import httpx2
import openai

from pcc.clusters.replies import Answer
from pcc.clusters.transcript import Reply, Transcript
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log

KEY = "OPENAI_API_KEY"
ADDRESS = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"
HIDDEN = "[key]"
ATTEMPT = 2  # timeouts that one attempt may take as a whole
SHORTEST_SECRET = 8  # shorter keys are dummies for servers that want none; hiding them would tear words apart
LONGEST_MESSAGE = 300
STRUCTURED: Any = {
    "type": "json_schema",
    "json_schema": {"name": "clusters", "strict": True, "schema": Answer.model_json_schema()},
}
# What servers without structured output answer when they are asked for it.
NOT_UNDERSTOOD = (openai.BadRequestError, openai.UnprocessableEntityError)


class Unusable(openai.OpenAIError):
    """A reply without end, or no completion. As an error of the client's own kind it is not tried again."""


@dataclass
class Chat:
    """Questions to one server, each exchange in a transcript. What the transcript answers is not sent.

    The key comes from the environment and is taken out of everything that is written or raised.

    Attributes:
        transcript: of this run and the ones before.
        base_url: address of the server; None: ``OPENAI_BASE_URL``, else OpenAI itself.
        timeout: seconds to wait for the server's next word; an attempt as a whole may take twice as long.
        max_retries: after 408, 409, 429, 5xx and broken connections; `openai` waits as ``Retry-After`` says (up to
            two minutes), else ever longer.
        max_reply_bytes: of one HTTP body.
        structured: ``auto`` asks for JSON of our schema until the server refuses that, ``never`` does not ask.
    """

    transcript: Transcript
    base_url: str | None
    timeout: float
    max_retries: int
    max_reply_bytes: int
    structured: Literal["auto", "never"]

    def __post_init__(self) -> None:
        self.key = os.environ.get(KEY, "").strip()
        self.server = self.base_url or os.environ.get(ADDRESS) or OPENAI
        self.schema, self.sent = self.structured == "auto", 0

    def ask(self, model: str, options: Mapping[str, Any], messages: Sequence[Mapping[str, str]]) -> str:
        """The model's words; from the transcript where it holds a reply to the same question.

        Raises:
            InputError: no key for OpenAI itself, an address that cannot be; the server refused, failed or stayed
                silent in spite of retries.
        """
        entry: dict[str, Any] = {"model": model, "messages": messages, "options": options}
        entry["server"] = self._hide(self.server)
        entry["response_format"] = STRUCTURED if self.structured == "auto" else None
        if kept := self.transcript.kept(entry):
            return kept.text
        client, started = self._client, time.monotonic()
        outcome: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            reply = self._send(client, model=model, messages=messages, **options)
            outcome["reply"] = reply.model_dump()
        except (openai.OpenAIError, ValueError) as error:
            outcome["error"] = self._explain(error)
        outcome |= {"latency_s": round(time.monotonic() - started, 3), "structured": self.schema}
        self.transcript.add(entry, **outcome)
        if "error" in outcome:
            raise InputError(outcome["error"])
        self.sent += 1
        if reply.finish == "length":
            log.warning("the server cut the reply at its limit of tokens; raise max_tokens")
        return reply.text

    @cached_property
    def _client(self) -> openai.OpenAI:
        """Made when there is something to ask: kept replies need no key."""
        if not (self.key.isascii() and self.key.isprintable()):
            raise InputError(f"{KEY} holds characters that no key has; export it again")
        if not self.key and self.server == OPENAI:
            raise InputError(f"no {KEY} in the environment; export it, or set base_url to a server of your own")
        if "@" in self.server.split("//", 1)[-1].split("/", 1)[0]:
            raise InputError(f"base_url or {ADDRESS} holds a user name or password; remove it, as files show it")
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request tells nothing here
        return openai.OpenAI(
            api_key=self.key or "none",  # the client insists on one; servers of one's own rarely do
            base_url=self.server,
            timeout=self.timeout,
            max_retries=self.max_retries,
            # A compressed body could unfold to any size.
            default_headers={"Accept-Encoding": "identity"},
            http_client=_BoundedClient(ATTEMPT * self.timeout, self.max_reply_bytes),
        )

    def _send(self, client: openai.OpenAI, **fields: Any) -> Reply:
        create = client.chat.completions.with_raw_response.create
        if self.schema:
            try:
                return self._read(create(**fields, response_format=STRUCTURED).content)
            except NOT_UNDERSTOOD as error:
                log.info("no structured output (%s); searching the text for JSON", error.status_code)
                self.schema = False
        return self._read(create(**fields).content)

    def _read(self, body: bytes) -> Reply:
        """The text of the first choice; a refusal is text too. The client itself checks nothing."""
        try:
            stored = json.loads(body)
            choice, usage = stored["choices"][0], stored.get("usage") or {}
            message = choice["message"]
            return Reply(
                text=self._hide(message.get("content") or message.get("refusal") or ""),
                model=self._hide(stored.get("model") or ""),
                usage={name: count for name, count in usage.items() if isinstance(count, int)},
                finish=choice.get("finish_reason"),
            )
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            raise Unusable("the server's reply is not JSON; check base_url") from None
        except (LookupError, TypeError, AttributeError, ValueError):
            raise Unusable("the server's reply is no chat completion; check base_url") from None

    def _explain(self, error: Exception) -> str:
        """One line: what the server did, and what to do; the key is hidden before anything is cut short."""
        said = error.__cause__ or error if type(error) is openai.APIConnectionError else error
        short = " ".join(self._hide(getattr(said, "message", str(said))).split())[:LONGEST_MESSAGE]
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                # Without the server's own words, which may quote a part of the key.
                return f"the server refused the key ({error.status_code}); check {KEY}"
            case openai.APITimeoutError():
                return f"the server did not answer within {self.timeout:g} s; raise timeout or check base_url"
            case openai.APIStatusError():
                return f"the server answered {error.status_code} ({short}); check model and base_url"
            case openai.APIConnectionError():
                return f"no answer from the server ({short}); check base_url and that it runs"
        return short if isinstance(error, Unusable) else f"the server cannot be used: {short}"

    def _hide(self, text: str) -> str:
        return text.replace(self.key, HIDDEN) if len(self.key) >= SHORTEST_SECRET else text


class _BoundedClient(openai.DefaultHttpxClient):
    """Bounds each attempt as a whole; the client's own timeout is per read, and knows no size."""

    def __init__(self, seconds: float, most: int) -> None:
        super().__init__(event_hooks={"response": [self._bound]})
        self.seconds, self.most = seconds, most

    def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """Send in a thread that can be left behind: headers or bodies that drip in reset every other timeout."""
        done: Future[httpx2.Response] = Future()

        def work() -> None:
            try:
                done.set_result(super(_BoundedClient, self).send(request, **settings))
            except Exception as error:
                done.set_exception(error)

        Thread(target=work, daemon=True).start()
        try:
            return done.result(self.seconds)
        except TimeoutError:
            raise Unusable(f"no whole reply within {self.seconds:g} s; raise timeout") from None

    def _bound(self, response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Unusable("its reply is compressed, though it was asked not to")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedBody(response.stream, self.most)


@dataclass
class _BoundedBody(httpx2.SyncByteStream):
    stream: httpx2.SyncByteStream
    most: int

    def __iter__(self) -> Iterator[bytes]:
        left = self.most
        for chunk in self.stream:
            left -= len(chunk)
            if left < 0:
                raise Unusable(f"its reply is longer than {self.most} bytes (max_reply_bytes)")
            yield chunk

    def close(self) -> None:
        self.stream.close()
