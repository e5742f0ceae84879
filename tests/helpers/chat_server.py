"""A server that speaks the chat-completions protocol over real HTTP, and does to its client what it is told."""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Exchange = BaseHTTPRequestHandler
Behaviour = Callable[["ChatServer", Exchange, dict[str, Any]], None]
KEY = "sk-very-secret-0123456789"
LONGEST = 120  # seconds that a client is kept waiting, should nothing else end a test


class ChatServer:
    """Answers each request by the next behaviour of ``script``; the last one stays.

    Attributes:
        bodies: what was asked, in order.
        keys: the header that authorises each request.
    """

    def __init__(self) -> None:
        self.script: list[Behaviour] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.keys.append(self.headers["Authorization"])
                behaviour = outer.script[0] if len(outer.script) == 1 else outer.script.pop(0)
                behaviour(outer, self, body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


def send(exchange: Exchange, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
    exchange.send_response(status)
    exchange.send_header("Content-Type", kind)
    exchange.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        exchange.send_header(name.replace("_", "-"), value)
    exchange.end_headers()
    try:
        exchange.wfile.write(body)
    except (BrokenPipeError, ConnectionResetError):
        exchange.close_connection = True


def completion(text: str | None, **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "parrot-1.5-0042"}
    return json.dumps({**whole, "choices": [choice], "usage": usage}).encode()


def says(text: str | None, **message: Any) -> Behaviour:
    return lambda _, exchange, __: send(exchange, 200, completion(text, **message))


def fails(status: int, said: str = "no", **headers: str) -> Behaviour:
    body = json.dumps({"error": {"message": said, "type": "error"}}).encode()
    return lambda _, exchange, __: send(exchange, status, body, **headers)


def raw(body: bytes, kind: str = "application/json") -> Behaviour:
    return lambda _, exchange, __: send(exchange, 200, body, kind)


def hangs(server: ChatServer, exchange: Exchange, _: dict[str, Any]) -> None:
    server.closing.wait(LONGEST)
    exchange.close_connection = True


def _drip(server: ChatServer, exchange: Exchange) -> None:
    exchange.close_connection = True
    try:
        for _ in range(20 * LONGEST):
            if server.closing.wait(0.05):
                return
            exchange.wfile.write(b" ")
    except OSError:
        pass


def drips(server: ChatServer, exchange: Exchange, _: dict[str, Any]) -> None:
    """A byte at a time, so that a read never waits long."""
    exchange.send_response(200)
    exchange.send_header("Content-Type", "application/json")
    exchange.send_header("Content-Length", "1000000")
    exchange.end_headers()
    _drip(server, exchange)


def drips_headers(server: ChatServer, exchange: Exchange, _: dict[str, Any]) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(server, exchange)


def compressed(body: bytes) -> Behaviour:
    return lambda _, exchange, __: send(exchange, 200, gzip.compress(body), Content_Encoding="gzip")


def resets(_: ChatServer, exchange: Exchange, __: dict[str, Any]) -> None:
    """Half a body, then RST."""
    body = completion("x" * 1000)
    exchange.send_response(200)
    exchange.send_header("Content-Type", "application/json")
    exchange.send_header("Content-Length", str(len(body)))
    exchange.end_headers()
    exchange.wfile.write(body[:500])
    exchange.wfile.flush()
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.connection.close()
    exchange.close_connection = True


def asked_about(body: dict[str, Any]) -> list[Any]:
    """The last data block of a request: categories, clusters or faults."""
    text = body["messages"][1]["content"]
    return json.loads(text.rsplit("<data>", 1)[1].split("</data>", 1)[0])


def names_asked(body: dict[str, Any]) -> list[str]:
    """The names that an answer must hold."""
    names = []
    for item in asked_about(body):
        names += item["members"] if isinstance(item, dict) and "members" in item else [item]
    return [item["name"] if isinstance(item, dict) else item for item in names]


def sorts(key: Callable[[str], str], wrap: Callable[[str], str] = str) -> Behaviour:
    """A model that knows its mind: names of equal ``key`` belong together, and it always says so."""

    def behave(_: ChatServer, exchange: Exchange, body: dict[str, Any]) -> None:
        groups: dict[str, list[str]] = {}
        for name in names_asked(body):
            groups.setdefault(key(name), []).append(name)
        answer = {"clusters": [{"name": n, "members": m} for n, m in groups.items()]}
        send(exchange, 200, completion(wrap(json.dumps(answer))))

    return behave


def sorts_under_new_names(key: Callable[[str], str]) -> Behaviour:
    """The same without a memory for cluster names: nothing is merged unless it is seen together."""
    count = iter(range(10_000))

    def behave(server: ChatServer, exchange: Exchange, body: dict[str, Any]) -> None:
        number = next(count)
        groups: dict[str, list[str]] = {}
        for name in names_asked(body):
            groups.setdefault(f"{key(name)} {number}", []).append(name)
        send(exchange, 200, completion(json.dumps(groups)))

    return behave
