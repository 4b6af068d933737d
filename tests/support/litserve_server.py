"""A real LitServe: a gateway that takes ``X-API-Key`` and nothing else, and that has no listing.

It fails beside the version 2 of ``mcp`` that litellm brings, so it has an environment of its own:
``make litserve-venv`` makes ``.litserve-venv``, ``LITSERVE_VENV`` names another one, and tests skip when there is
neither.

    with LitServe(api_key="key") as server:
        httpx.post(f"{server.base}/chat/completions", headers={"x-api-key": "key"}, json={...})
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

from tests.support.nginx import free_port

ANSWER = "Hello from LitServe."
FULL = "full"  # a chat whose last message says this is refused as being over capacity

_APP = Path(__file__).with_name("litserve_app.py")
_ROOT = Path(__file__).resolve().parents[2]


class LitServeError(RuntimeError):
    """The server did not start; the message ends with the last lines of its log."""


def litserve_python() -> Path | None:
    """The interpreter of the environment that holds LitServe, or None when there is none."""
    python = Path(os.environ.get("LITSERVE_VENV") or _ROOT / ".litserve-venv") / "bin" / "python"
    return python if python.exists() else None


class LitServe:
    """A running LitServe.

    Args:
        api_key: the only key that it accepts; None lets everyone in.
        start_timeout: seconds to wait until it is ready; 3 are usual.
    """

    def __init__(self, api_key: str | None = None, *, start_timeout: float = 60.0) -> None:
        self._api_key = api_key
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()
        self.origin = ""

    @property
    def base(self) -> str:
        """What to give as ``api_base``."""
        return f"{self.origin}/v1"

    def __enter__(self) -> LitServe:
        python = litserve_python()
        if python is None:
            raise LitServeError("there is no environment with LitServe: make litserve-venv")
        with contextlib.ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="litserve-")))
            undo.callback(self._stop)
            port = free_port()
            env = os.environ | ({"LIT_SERVER_API_KEY": self._api_key} if self._api_key else {})
            with (folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [str(python), str(_APP), str(port)],
                    cwd=folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.origin = f"http://127.0.0.1:{port}"
            self._await_ready(folder / "log")
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _await_ready(self, log: Path) -> None:
        deadline = time.monotonic() + self._start_timeout
        process = self._process
        assert process is not None
        headers = {"X-API-Key": self._api_key} if self._api_key else {}  # its health is behind the key too
        with httpx.Client(timeout=5, trust_env=False, headers=headers) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{self.origin}/health").status_code == httpx.codes.OK:
                        return
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LitServeError(f"LitServe is not ready; its log ends:\n{log.read_text()[-4000:]}")
                time.sleep(0.05)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # It forks its workers, and a fast end leaves nothing behind: the whole session goes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
