"""The one door to a language model: any server that speaks OpenAI's chat-completions protocol."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import httpx2
import openai
from pydantic import BaseModel, Field, ValidationError

from pcc.clusters.replies import Answer
from pcc.clusters.transcript import Reply, Request, Transcript
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log

KEY = "OPENAI_API_KEY"
ADDRESS = "OPENAI_BASE_URL"
HIDDEN = "[key]"
SHORTEST_SECRET = (
    8  # shorter keys are dummies for servers that want none; to hide them would tear words apart
)
LONGEST_MESSAGE = 300
LONGEST_RETRY_AFTER = 120.0  # what `openai` is willing to wait
STRUCTURED = {
    "type": "json_schema",
    "json_schema": {"name": "clusters", "strict": True, "schema": Answer.model_json_schema()},
}
# What servers without structured output answer when they are asked for it.
NOT_UNDERSTOOD = (openai.BadRequestError, openai.UnprocessableEntityError)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """The part of the protocol's answer that is used; the client itself does not check it."""

    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: dict[str, Any] | None = None


class TooLong(openai.OpenAIError):
    """A reply exceeds its size or its time. As an error of the client's own kind it is not tried again."""


class Chat:
    """Requests to one server, each written to a transcript, none answered without bounds on time and size.

    The key comes from the environment and is taken out of everything that is written or raised.

    Args:
        transcript: where every exchange is noted.
        base_url: address of the server; None: ``OPENAI_BASE_URL``, else OpenAI itself.
        timeout: seconds to wait for the server's next word, and for the whole of a reply's body.
        max_retries: after 408, 409, 429, 5xx and broken connections; `openai` waits as ``Retry-After`` says, else
            ever longer.
        max_reply_bytes: of one HTTP body.
        structured: ``auto`` asks for JSON of our schema until the server refuses that, ``never`` does not ask.

    Raises:
        InputError: no key for OpenAI itself, or an address that cannot be.
    """

    def __init__(
        self,
        transcript: Transcript,
        base_url: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 4,
        max_reply_bytes: int = 2_000_000,
        structured: Literal["auto", "never"] = "auto",
    ) -> None:
        self.transcript, self.timeout, self.structured = transcript, timeout, structured == "auto"
        self.max_reply_bytes = max_reply_bytes
        address = address_of(base_url)
        self.key = os.environ.get(KEY, "").strip()
        if not (self.key.isascii() and self.key.isprintable()):
            raise InputError(f"{KEY} holds characters that no key has; export it again")
        if not self.key and not address:
            raise InputError(
                f"no {KEY} in the environment; export it, or name a server of your own as base_url"
            )
        if address and "@" in address.split("//", 1)[-1].split("/", 1)[0]:
            raise InputError(
                f"base_url or {ADDRESS} holds a user name or password, which would be written into files; leave it out"
            )
        self.patience = (max_retries + 1) * (2 * timeout + LONGEST_RETRY_AFTER)
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request tells nothing here
        self.client = openai.OpenAI(
            api_key=self.key or "none",  # the client insists on one; servers of one's own rarely do
            base_url=address,
            timeout=timeout,
            max_retries=max_retries,
            # A compressed body could unfold to any size.
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultHttpxClient(event_hooks={"response": [self._bound]}),
        )

    def ask(self, request: Request) -> Reply:
        """Send a request and note the exchange.

        Raises:
            InputError: the server refused, failed or stayed silent in spite of retries.
        """
        started, date = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        try:
            reply = self._in_time(request)
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            problem = explain(error, self.timeout, self._hide)
            self._note(request, date, started, error=problem)
            raise InputError(problem) from None  # the cause may quote headers
        reply = Reply(self._hide(reply.text), self._hide(reply.model), reply.usage, reply.finish)
        self._note(request, date, started, reply=vars(reply))
        return reply

    def _note(self, request: Request, date: str, started: float, **outcome: Any) -> None:
        latency = round(time.monotonic() - started, 3)
        self.transcript.add(request, date=date, latency_s=latency, structured=self.structured, **outcome)

    def _in_time(self, request: Request) -> Reply:
        """`_reply`, or an error when all patience is used up: headers that drip in reset every other timeout."""
        outcome: list[Reply | Exception] = []

        def work() -> None:
            try:
                outcome.append(self._reply(request))
            except Exception as error:
                outcome.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(self.patience)
        if not outcome:
            raise TooLong(f"no whole reply within {self.patience:g} s")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _reply(self, request: Request) -> Reply:
        if self.structured:
            try:
                return read_completion(self._create(request, response_format=STRUCTURED))
            except NOT_UNDERSTOOD as error:
                log.info(
                    "the server refuses structured output (%s); JSON is looked for in its text",
                    error.status_code,
                )
                self.structured = False
        return read_completion(self._create(request))

    def _create(self, request: Request, **more: Any) -> Completion:
        response = self.client.chat.completions.with_raw_response.create(
            model=request.model,
            messages=list(request.messages),  # type: ignore[arg-type]
            **request.options,
            **more,
        )
        return Completion.model_validate(json.loads(response.http_response.content))

    def _bound(self, response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TooLong("its reply is compressed, though it was asked not to")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Bounded(response.stream, self.max_reply_bytes, self.timeout)

    def _hide(self, text: str) -> str:
        return text.replace(self.key, HIDDEN) if len(self.key) >= SHORTEST_SECRET else text


class _Bounded(httpx2.SyncByteStream):
    """A body that fails where it grows too large or drips too long; the client's own timeout is per read."""

    def __init__(self, stream: httpx2.SyncByteStream, most: int, seconds: float) -> None:
        self.stream, self.most, self.deadline = stream, most, time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for chunk in self.stream:
            total += len(chunk)
            if total > self.most:
                raise TooLong(f"its reply is longer than {self.most} bytes (max_reply_bytes)")
            if time.monotonic() > self.deadline:
                raise TooLong("its reply takes longer than timeout")
            yield chunk

    def close(self) -> None:
        self.stream.close()


def address_of(base_url: str | None) -> str | None:
    """Where requests go; None: OpenAI itself."""
    return base_url or os.environ.get(ADDRESS)


def read_completion(completion: Completion) -> Reply:
    """The text of the first choice; a refusal is text too."""
    choice = completion.choices[0]
    text = choice.message.content or choice.message.refusal or ""
    usage = {name: count for name, count in (completion.usage or {}).items() if isinstance(count, int)}
    return Reply(text, completion.model or "", usage, choice.finish_reason)


def explain(error: Exception, timeout: float, hide: Callable[[str], str]) -> str:
    """One line: what the server did, and what to do; what it said is hidden from before it is cut short."""

    def short(said: object) -> str:
        return " ".join(hide(str(said)).split())[:LONGEST_MESSAGE]

    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        # Without the server's own words, which may quote a part of the key.
        return f"the server refused the key ({error.status_code}); check {KEY}"
    if isinstance(error, openai.APITimeoutError):
        return f"the server did not answer within {timeout:g} s; raise timeout, or check base_url"
    if isinstance(error, openai.APIStatusError):
        return f"the server answered {error.status_code} ({short(error.message)}); check model, base_url and the server"
    if isinstance(error, openai.APIConnectionError):
        return (
            f"no answer from the server ({short(error.__cause__ or error)}); check base_url and that it runs"
        )
    if isinstance(error, ValidationError):
        return "the server's reply is no chat completion; check base_url and the server"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "the server's reply is not JSON; check base_url and the server"
    return f"the server cannot be used: {short(error)}"
