"""The one door to a language model: any server that speaks OpenAI's chat-completions protocol."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import ip_address
from threading import Thread
from typing import Any, Literal
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import openai

from pcc.clusters.replies import Answer, unique_keys
from pcc.clusters.secrets import Secrets
from pcc.clusters.transcript import Reply, Transcript
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log

KEY = "OPENAI_API_KEY"
ADDRESS = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"
ATTEMPT = 2  # timeouts that one attempt may take as a whole
LONGEST_MESSAGE, LONGEST_BODY = 300, 2000  # characters of a server's words: in a message, in the transcript
MOST_TOKENS = 2**53
STRUCTURED: Any = {
    "type": "json_schema",
    "json_schema": {"name": "clusters", "strict": True, "schema": Answer.model_json_schema()},
}
# What servers without structured output answer when they are asked for it.
NOT_UNDERSTOOD = (openai.BadRequestError, openai.UnprocessableEntityError)


class Unusable(openai.OpenAIError):
    """A reply without end, or no completion. As an error of the client's own kind it is not tried again.

    Args:
        said: what is wrong.
        body: of the reply, where there is one.
    """

    def __init__(self, said: str, body: bytes | None = None) -> None:
        super().__init__(said)
        self.body = None if body is None else body.decode("utf-8", "replace")


@dataclass
class Chat:
    """Questions to one server, each exchange in a transcript. What the transcript answers is not sent.

    The key comes from the environment. It and the passwords of proxies are taken out of all that is written or raised.

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
        if self.base_url is None:
            where, self.server = ADDRESS, os.environ.get(ADDRESS, "").strip() or OPENAI
        else:
            where, self.server = "clusters (openai).base_url", self.base_url.strip()
        check_address(where, self.server)
        self.hide = Secrets(self.key, *(word for proxy in getproxies().values() for word in _credentials(proxy))).hide
        self.schema, self.sent = self.structured == "auto", 0

    def ask(self, model: str, options: Mapping[str, Any], messages: Sequence[Mapping[str, str]]) -> Reply:
        """The model's reply; from the transcript where it holds one to the same question.

        Raises:
            InputError: no key for OpenAI itself, an address that cannot be; the server refused, failed or stayed
                silent in spite of retries.
        """
        form = STRUCTURED if self.structured == "auto" else None
        question = {"model": model, "messages": messages, "options": options}
        entry = {**self.hide(question | {"server": self.server}), "response_format": form}
        if kept := self.transcript.kept(entry):
            return kept
        client, started = self._client, time.monotonic()
        outcome: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            found = self._send(client, model=model, messages=messages, **options)
            outcome["reply"] = {name: self.hide(value) for name, value in found.model_dump().items()}
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError, OSError) as error:
            outcome["error"] = self._explain(error)
            if isinstance(error, Unusable) and error.body:
                outcome["body"] = self.hide(error.body)[:LONGEST_BODY]
        outcome |= {"latency_s": round(time.monotonic() - started, 3), "structured": self.schema}
        self.transcript.add(entry, **outcome)
        if "error" in outcome:
            raise InputError(outcome["error"])
        self.sent += 1
        return Reply(**outcome["reply"])

    @cached_property
    def _client(self) -> openai.OpenAI:
        """Made when there is something to ask: kept replies need no key."""
        if not (self.key.isascii() and self.key.isprintable()):
            raise InputError(f"{KEY} holds characters that no key has; export it again")
        if not self.key and self.server == OPENAI:
            raise InputError(f"no {KEY} in the environment; export it, or set base_url to a server of your own")
        for name in ("openai", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)  # lower levels print headers, which may echo the key
        try:
            return openai.OpenAI(
                api_key=self.key or "none",  # the client insists on one; servers of one's own rarely do
                base_url=self.server,
                timeout=self.timeout,
                max_retries=self.max_retries,
                # A compressed body could unfold to any size.
                default_headers={"Accept-Encoding": "identity"},
                http_client=_BoundedClient(ATTEMPT * self.timeout, self.max_reply_bytes, is_local(self.server)),
            )
        except (openai.OpenAIError, httpx2.InvalidURL, ImportError, ValueError, OSError) as error:
            raise InputError(self._unmade(error)) from None

    def _unmade(self, error: Exception) -> str:
        """Why there is no client: it knows all proxies of the environment, and base_url was checked before."""
        short = self._short(str(error))
        if isinstance(error, OSError):
            return f"the certificates cannot be read ({short}); check SSL_CERT_FILE and SSL_CERT_DIR"
        named = ", ".join(
            f"{scheme}_proxy={self.hide(without_credentials(proxy))}" for scheme, proxy in sorted(getproxies().items())
        )
        if not named:
            return f"the server cannot be used: {short}; check base_url"
        wanted = " (SOCKS needs the package socksio)" if isinstance(error, ImportError) else f" ({short})"
        return f"a proxy of the environment cannot be used: {named}{wanted}; use an http:// proxy or unset it"

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
        """The first choice; a refusal is text too, reasoning is not. The client itself checks nothing."""
        try:
            stored = json.loads(body, object_pairs_hook=unique_keys)
            choice, usage = stored["choices"][0], stored.get("usage") or {}
            message = choice["message"]
            counts = {name: n for name, n in usage.items() if type(n) is int and 0 <= n <= MOST_TOKENS}
            return Reply(
                text=_text(message.get("content")) or message.get("refusal") or "",
                model=_tame(stored.get("model") or "")[:LONGEST_MESSAGE],
                usage=counts,
                finish=choice.get("finish_reason"),
            )
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            fault = "not JSON"
        except (LookupError, TypeError, AttributeError, ValueError, InputError):
            fault = "no chat completion"
        raise Unusable(f"the server's reply is {fault}", body)

    def _explain(self, error: Exception) -> str:
        """One line: what the server did, and what to do; the key is hidden before anything is cut short."""
        said = error.__cause__ or error if type(error) is openai.APIConnectionError else error
        short = self._short(getattr(said, "message", str(said)))
        match error:
            case Unusable():
                if error.body is None:
                    return short
                return f"{short} ({self._short(error.body) or 'it is empty'}); check base_url"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                # Without the server's own words, which may quote a part of the key.
                return f"the server refused the key ({error.status_code}); check {KEY}"
            case openai.APITimeoutError():
                return (
                    f"the server did not answer within {self.timeout:g} s{self._by()}; raise timeout or check base_url"
                )
            case openai.APIStatusError() if error.response.has_redirect_location:
                # A prompt goes where the configuration says, and nowhere else.
                to = self._short(without_credentials(error.response.headers["Location"].partition("?")[0]))
                return f"the server redirects to {to}; redirects are not followed, set base_url to the new address"
            case openai.APIStatusError():
                return f"the server answered {error.status_code}{self._by()} ({short}); check model and base_url"
            case openai.APIConnectionError():
                return f"no answer from the server{self._by()} ({short}); check base_url and that it runs"
        return f"the server cannot be used: {short}; check base_url"

    def _by(self) -> str:
        """The proxy between here and the server, in words."""
        at, proxies = urlsplit(self.server), getproxies()
        proxy = proxies.get(at.scheme) or proxies.get("all")
        if proxy is None or is_local(self.server) or proxy_bypass(at.netloc):
            return ""
        return f" by way of the proxy {self._short(without_credentials(proxy))}"

    def _short(self, text: str) -> str:
        plain = re.sub(r"://[^/\s@]*@", "://", str(self.hide(text)))  # errors quote addresses of proxies
        return _tame(" ".join(plain.split()))[:LONGEST_MESSAGE]


def check_address(where: str, address: str) -> None:
    """Check the address of a server.

    Args:
        where: the setting or variable that holds it, for the message.
        address: to be checked.

    Raises:
        InputError: no http or https, no host, a bad port, credentials, a query or a fragment. Files show the address,
            and the client would append its paths to a query.

    Examples:
        >>> check_address("base_url", "http://localhost:11434/v1")
        >>> check_address("base_url", "localhost:11434")
        Traceback (most recent call last):
        pcc.runtime.errors.InputError: base_url does not begin with http:// or https://; write http://HOST:PORT/v1
    """
    try:
        at = urlsplit(address)
        bad_port = at.port == 0
    except ValueError:
        at, bad_port = urlsplit(""), True
    if "@" in address:
        fault = "holds a user name or password, and files show it"
    elif not address.isprintable() or " " in address:
        fault = "holds spaces or control characters"
    elif bad_port:
        fault = "holds an invalid host or port"
    elif at.scheme not in ("http", "https"):
        fault = "does not begin with http:// or https://"
    elif not at.hostname:
        fault = "names no host"
    elif "?" in address or "#" in address:
        fault = "holds a query (?) or a fragment (#)"
    else:
        return
    raise InputError(f"{where} {fault}; write http://HOST:PORT/v1")


def is_local(address: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach for us."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def without_credentials(address: str) -> str:
    """An address without user name and password.

    Examples:
        >>> without_credentials("http://me:p@ss@proxy:80"), without_credentials("me:x@proxy:80")
        ('http://proxy:80', 'proxy:80')
    """
    scheme, separator, rest = address.rpartition("://") if "@" not in address else address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else address.rpartition("@")[2]


def _credentials(proxy: str) -> list[str]:
    """User and password of a proxy, the password alone, and each as it is sent."""
    user, _, _ = proxy.partition("://")[2].rpartition("@") if "://" in proxy else proxy.rpartition("@")
    password = user.partition(":")[2]
    return [word for found in (user, password) if password for word in dict.fromkeys((found, unquote(found)))]


def _text(content: Any) -> str:
    """A message's text: a string, or a list of parts, of which those of type ``text`` are the answer."""
    if not isinstance(content, list):
        return content or ""
    return "".join(part["text"] for part in content if part["type"] in ("text", "output_text"))


def _tame(text: str) -> str:
    """Text of a server for a line on the screen: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _BoundedClient(openai.DefaultHttpxClient):
    """Bounds each attempt as a whole; the client's own timeout is per read, and knows no size."""

    def __init__(self, seconds: float, most: int, local: bool) -> None:
        # Neither redirects nor, to this machine itself, proxies: a prompt goes where the configuration says.
        super().__init__(event_hooks={"response": [self._bound]}, follow_redirects=False, trust_env=not local)
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
