"""The real LiteLLM proxy as a subprocess, from an environment of its own.

It is half a gigabyte of packages that pin much, so it does not share the tests' environment. ``make proxy-venv`` makes
``.proxy-venv``; ``LITELLM_PROXY_VENV`` names another one. Tests skip when there is neither.

    with LiteLLMProxy(config) as proxy:
        httpx.post(f"{proxy.origin}/v1/chat/completions", ...)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx

from tests.support.nginx import free_port

_ROOT = Path(__file__).resolve().parents[2]
_LOG_TAIL = 6000


class LiteLLMProxyError(RuntimeError):
    """The proxy did not start; the message ends with the last lines of its log."""


def proxy_venv() -> Path | None:
    """The environment that holds the proxy, or None when there is none."""
    venv = Path(os.environ.get("LITELLM_PROXY_VENV") or _ROOT / ".proxy-venv")
    return venv if (venv / "bin" / "litellm").exists() else None


class LiteLLMProxy:
    """A running proxy, on a loopback port of its own.

    Args:
        config: the text of its ``config.yaml``. JSON is YAML too, so ``json.dumps`` of a dict will do.
        master_key: the key that it asks of its clients; it must begin with ``sk-``.
        env: variables for it, beside the harmless part of our own environment.
        start_timeout: seconds to wait until it is ready; 15 to 20 are usual on two cores.
    """

    def __init__(
        self,
        config: str,
        *,
        master_key: str = "sk-proxy",
        env: Mapping[str, str] | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        self._config = config
        self.master_key = master_key
        self._env = dict(env or {})
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()
        self._log = Path()
        self.origin = ""

    def __enter__(self) -> LiteLLMProxy:
        venv = proxy_venv()
        if venv is None:
            raise LiteLLMProxyError("there is no environment with the LiteLLM proxy: make proxy-venv")
        with contextlib.ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="litellm-proxy-")))
            undo.callback(self._stop)
            (folder / "config.yaml").write_text(self._config)
            self._log = folder / "log"
            port = free_port()
            self.origin = f"http://127.0.0.1:{port}"
            command = [str(venv / "bin" / "litellm"), "--config", str(folder / "config.yaml")]
            command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=self._environment(venv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._await_ready()
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def log(self) -> str:
        """All that the proxy has written; empty when it is not running."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")
        return ""

    def _environment(self, venv: Path) -> dict[str, str]:
        # Nothing of ours that steers litellm, a gateway or Python may leak in.
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
        path = os.pathsep.join([str(venv / "bin"), os.environ.get("PATH", "")])
        return kept | {
            "PATH": path,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": self.master_key,
            "PYTHONPATH": str(_ROOT),  # the plugin of this checkout, even if another one was installed there
            "NO_PROXY": "127.0.0.1,localhost",
            **self._env,
        }

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        process = self._process
        assert process is not None
        with httpx.Client(timeout=5, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{self.origin}/health/liveliness").status_code == httpx.codes.OK:
                        return
                if process.poll() is not None:
                    problem = f"the LiteLLM proxy ended with status {process.returncode}"
                elif time.monotonic() > deadline:
                    problem = f"the LiteLLM proxy was not ready within {self._start_timeout:g} s"
                else:
                    time.sleep(0.1)
                    continue
                raise LiteLLMProxyError(f"{problem}; its log ends:\n{self.log()[-_LOG_TAIL:]}")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # It starts workers of its own: the whole session goes.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                return
