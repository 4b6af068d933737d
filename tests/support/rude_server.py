"""A server of raw bytes, for answers that no well-behaved server gives. It counts what it was asked.

    with RudeServer(lambda request: answer(401, {"error": "no"})) as server:
        httpx.get(f"{server.origin}/v1/models")

What the function returns is sent as it is: bytes, or an iterable of them, which may be endless. A body without a
length ends with the connection, which is closed after each answer. `None` closes it without a word.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request; the names of its headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def is_listing(self) -> bool:
        return self.method == "GET"

    @property
    def credential(self) -> str:
        """What it holds, in whichever style."""
        names = ("authorization", "x-api-key", "api-key")
        return next((self.headers[name] for name in names if name in self.headers), "")


Reply = Callable[[Asked], bytes | Iterable[bytes] | None]


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """A whole answer, whose connection is closed after it; a body that is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-type": "application/json", "content-length": str(len(content)), "connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + content


def listing(*ids: str) -> dict[str, Any]:
    """The body of a listing."""
    return {"object": "list", "data": [{"id": each, "object": "model"} for each in ids]}


def completion(text: str = '{"ok":true}') -> dict[str, Any]:
    """The body of a chat answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class RudeServer:
    """A running one.

    Args:
        reply: what it sends, for each request; called from several threads.
        host: "127.0.0.1" or "::1".
        tls: to speak TLS.

    Attributes:
        seen: the requests that were complete, in the order in which they came.
    """

    def __init__(self, reply: Reply, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Asked] = []
        self._server = _server_of(self, reply, host, tls)
        shown = f"[{host}]" if ":" in host else host
        self.origin = f"{'https' if tls else 'http'}://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> RudeServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def counted(self) -> dict[str, int]:
        """How many requests of each method and path."""
        asked = [f"{each.method} {each.path}" for each in self.seen]
        return {each: asked.count(each) for each in sorted(set(asked))}


def _server_of(rude: RudeServer, reply: Reply, host: str, tls: ssl.SSLContext | None) -> socketserver.TCPServer:
    class Handler(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            self.request.close()  # with TLS it is another socket than the one that the server closes

        def handle(self) -> None:
            asked = _read(self.rfile)
            if asked is None:
                return
            rude.seen.append(asked)
            sent = reply(asked)
            for piece in [sent] if isinstance(sent, bytes) else sent or ():
                self.wfile.write(piece)

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever has heard enough hangs up."""

    return Server((host, 0), Handler)


def _read(stream: Any) -> Asked | None:
    """A request with its body, None when there is none."""
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    lines = iter(lambda: stream.readline().decode("latin-1").strip(), "")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    with suppress(ValueError):
        stream.read(int(headers.get("content-length", "0")))
    return Asked(first[0], first[1], headers)
