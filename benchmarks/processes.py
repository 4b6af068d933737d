"""Other processes: the server, the workers, and programs that print one line of JSON."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent
OTHERS = ("LITELLM_GATEWAY_", "CHUTES_", "SCILLM_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "LITELLM_LOG")
"""Settings of the developer's own that would change what is measured."""


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(OTHERS)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # without compiled modules it is the compiler that is measured
    cache = str(Path(tempfile.gettempdir()) / "litellm-gateway-benchmarks")
    own = {"XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": cache, "PYTHONWARNINGS": "ignore"}
    return {**kept, **own, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


class Program:
    """A module of ours in a process of its own, asked and answered in lines."""

    def __init__(self, module: str, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        variables = {**environment(), **(settings or {})}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return text

    def tell(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def heard(self) -> Any:
        return json.loads(self.line())

    def ask(self, order: dict[str, Any]) -> Any:
        self.tell(order)
        return self.heard()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


class Server(Program):
    """The gateway of the benchmarks."""

    def __init__(self) -> None:
        super().__init__("server")
        self.origin = f"http://127.0.0.1:{int(self.line())}"

    @property
    def base(self) -> str:
        return f"{self.origin}/v1"

    @property
    def refused(self) -> int:
        with urllib.request.urlopen(f"{self.origin}/refused") as response:
            return int(response.read())

    def __enter__(self) -> Server:
        return self


def outcome(module: str, *arguments: str) -> Any:
    """What a program prints, read as JSON."""
    with Program(module, *arguments) as program:
        return program.heard()


def free_port() -> int:
    """A port of the loopback interface that nobody has taken yet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
