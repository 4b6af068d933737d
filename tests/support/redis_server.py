"""A real redis-server as a context manager: it can be killed, started again on the same port, and held for a while.

with RedisServer(password="secret") as redis:
    client = redis.client()
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any

from tests.support.nginx import free_port

START_SECONDS = 10.0


def redis_binary() -> str | None:
    """The redis-server of this machine, None without one."""
    return shutil.which("redis-server")


class RedisServer:
    """A Redis that keeps nothing on disk.

    Args:
        password: what clients have to know, "" for nothing.
    """

    def __init__(self, password: str = "") -> None:
        self.port = free_port()
        self._password = password
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        credential = f":{self._password}@" if self._password else ""
        return f"redis://{credential}127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """A client that waits for as long as a slow machine needs."""
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=START_SECONDS)

    def dump(self) -> dict[bytes, Any]:
        """Everything that is in it: hashes as dictionaries, the rest as text."""
        with self.client() as client:
            kinds = {name: client.type(name) for name in client.scan_iter()}
            return {name: client.hgetall(name) if kind == b"hash" else client.get(name) for name, kind in kinds.items()}

    def start(self) -> None:
        """Start, empty.

        Raises:
            TimeoutError: it does not answer.
        """
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder.name]
        secret = ["--requirepass", self._password] if self._password else []
        self._process = subprocess.Popen(["redis-server", *options, *secret], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        """As if the machine had lost its power."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16)[:1] in {b"+", b"-"}  # "-" when it asks for a password
        except OSError:
            return False
