"""Servers on loopback that behave as they are told: one handler per connection, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Request:
    """One request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class Peer:
    """The server's end of a connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self._buffer = b""

    def request(self) -> Request | None:
        """The next request, None when the client has gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in rest)]
        request = Request(line, headers, b"")
        length = int(request.header("content-length") or 0)
        while len(self._buffer) < length:
            if not self._more():
                return None
        request.body, self._buffer = self._buffer[:length], self._buffer[length:]
        self.server.requests.append(request)
        return request

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 16)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def gone(self) -> bool:
        """Wait until the client has closed; False when it has not within ten seconds."""
        self.sock.settimeout(10)
        try:
            while self.sock.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


Handler = Callable[[Peer], None]


@dataclass
class Server:
    """What a test sees of a server.

    Attributes:
        requests: every request that arrived whole.
        accepted: how many connections were accepted.
        open: how many of them are still being served.
        done: set when the test is over; a handler that stalls waits for it.
    """

    port: int
    requests: list[Request] = field(default_factory=list)
    accepted: int = 0
    open: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    scheme: str = "http"
    host: str = "127.0.0.1"

    @property
    def base(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def url(self, path: str = "/v1/chat/completions") -> str:
        return self.base + path


@contextlib.contextmanager
def serving(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that gives each connection to `handler`, after a TLS handshake when there is a context."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = Server(listener.getsockname()[1], scheme="https" if context else "http")
    threads: list[threading.Thread] = []
    lock = threading.Lock()
    sockets: set[socket.socket] = set()

    def serve(sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True)
                    with lock:
                        sockets.add(sock)
                handler(Peer(server, sock))
        finally:
            sock.close()
            with lock:
                server.open -= 1

    def accept() -> None:
        while not server.done.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with lock:
                server.accepted += 1
                server.open += 1
                sockets.add(sock)
            thread = threading.Thread(target=serve, args=(sock,), daemon=True)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.done.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in (acceptor, *threads):
            thread.join(10)


def answering(*answers: bytes) -> Handler:
    """Keep-alive: every request on a connection gets the next answer, the last one again and again."""

    def handle(peer: Peer) -> None:
        left = list(answers)
        while peer.request() is not None:
            peer.send(left.pop(0) if len(left) > 1 else left[0])

    return handle


def answer(
    body: bytes = b"ok", status: str = "200 OK", headers: tuple[tuple[str, str], ...] = (), length: int | None = None
) -> bytes:
    """An answer with a Content-Length, right or wrong."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {size}\r\n\r\n".encode() + body


def chunked(*pieces: bytes, end: bool = True, headers: str = "") -> bytes:
    """An answer in chunks, ended or not."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = f"HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
    return head + body + (b"0\r\n\r\n" if end else b"")


def tunnelling(*, refuse: bytes | None = None) -> Handler:
    """A forward proxy: absolute-form requests are answered here, CONNECT opens a tunnel."""

    def handle(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if refuse is not None:
                peer.send(refuse)
                return
            if not request.line.startswith("CONNECT "):
                peer.send(answer(b"through the proxy"))
                continue
            host, _, port = request.target.rpartition(":")
            with socket.create_connection((host, int(port)), 10) as upstream:
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                shovel(peer.sock, upstream)
            return

    return handle


def shovel(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join(10)
