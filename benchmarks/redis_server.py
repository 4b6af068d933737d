"""A Redis of its own: on a free port, in a folder of its own, and nothing is written to disk."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType

from .processes import free_port

PROGRAM = "redis-server"
START_SECONDS = 10.0


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


class Redis:
    """The server, for the length of a `with`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-redis-")
        self._port = free_port()
        options = {
            "--port": str(self._port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--appendonly": "no",
            "--dir": self._folder.name,
        }
        words = [word for option in options.items() for word in option]
        self._process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def commands(self) -> int:
        """How many it has carried out."""
        found = re.search(r"total_commands_processed:(\d+)", self._ask("INFO stats"))
        return int(found[1]) if found else 0

    def _ask(self, command: str) -> str:
        with socket.create_connection(("127.0.0.1", self._port), timeout=START_SECONDS) as connection:
            connection.sendall(f"{command}\r\nQUIT\r\n".encode())
            return connection.makefile().read()

    def _await(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ask("PING")
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def __enter__(self) -> Redis:
        self._await()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
