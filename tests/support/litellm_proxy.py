"""The real LiteLLM proxy as a subprocess, from an environment of its own.

It is half a gigabyte of packages that pin much, so it does not share the tests' environment. ``make proxy-venv`` makes
``.proxy-venv``; ``LITELLM_PROXY_VENV`` names another one. Tests skip when there is neither.

    with LiteLLMProxy(config, workers=2) as proxy:
        httpx.post(f"{proxy.origin}/v1/chat/completions", ...)
        for worker in proxy.workers():
            with proxy.client(worker) as client:  # all that it sends goes to this one
                client.post("/v1/chat/completions", ...)
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import httpx

from tests.support.nginx import free_port

_ROOT = Path(__file__).resolve().parents[2]
_LOG_TAIL = 6000
_STARTED = re.compile(r"Started server process \[(\d+)\]")
_READY = "Application startup complete."
_KEEP_ALIVE_S = 600
_ANSWERS_WITHIN_S = 30
"""uvicorn ends a worker that has not answered it for 5 s, also one that is still starting on a busy machine."""

PLUGIN = "litellm_gateway_plugin.callback"
BESIDE = "gateway_callback"
"""A module beside the config.yaml: what older proxies take callbacks from."""
LISTS_CALLBACKS = (1, 100)
"""The first litellm whose proxy imports a callback that its config.yaml names."""


class LiteLLMProxyError(RuntimeError):
    """The proxy did not start; the message ends with the last lines of its log."""


def proxy_venv() -> Path | None:
    """The environment that holds the proxy, or None when there is none."""
    venv = Path(os.environ.get("LITELLM_PROXY_VENV") or _ROOT / ".proxy-venv")
    return venv if (venv / "bin" / "litellm").exists() else None


def proxy_version() -> tuple[int, ...]:
    """The number of the litellm in that environment; () when there is none."""
    venv = proxy_venv()
    found = () if venv is None else sorted(venv.glob("lib/python3*/site-packages/litellm-*.dist-info"))
    return tuple(int(part) for part in re.findall(r"\d+", found[-1].name)) if found else ()


class LiteLLMProxy:
    """A running proxy, on a loopback port of its own.

    Args:
        config: the text of its ``config.yaml``. JSON is YAML too, so ``json.dumps`` of a dict will do. One that names
            the plugin as a callback is given a file beside it where the proxy is too old for that.
        master_key: the key that it asks of its clients; it must begin with ``sk-``.
        env: variables for it, beside the harmless part of our own environment.
        files: more files beside ``config.yaml``, by name.
        workers: how many processes serve (``--num_workers``).
        start_timeout: seconds to wait until all are ready; 15 to 20 are usual on two cores.
    """

    def __init__(
        self,
        config: str,
        *,
        master_key: str = "sk-proxy",
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        workers: int = 1,
        start_timeout: float = 120.0,
    ) -> None:
        self._config = config
        self.master_key = master_key
        self._env = dict(env or {})
        self._files = dict(files or {})
        self._workers = workers
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
            for name, text in {**self._callback(), **self._files}.items():
                (folder / name).write_text(text)
            self._log = folder / "log"
            port = free_port()
            self.origin = f"http://127.0.0.1:{port}"
            command = [str(venv / "bin" / "litellm"), "--config", str(folder / "config.yaml")]
            command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
            command += ["--num_workers", str(self._workers), "--keepalive_timeout", str(_KEEP_ALIVE_S)]
            command += ["--timeout_worker_healthcheck", str(_ANSWERS_WITHIN_S)]
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

    def workers(self) -> list[int]:
        """The processes that serve, the oldest first."""
        started = [int(number) for number in _STARTED.findall(self.log())]
        return [number for number in started if _state(number) not in ("", "Z")]

    def kill(self, worker: int) -> None:
        """End a worker as if the machine had run out of memory."""
        os.kill(worker, signal.SIGKILL)

    def wait_for_starts(self, number: int, timeout: float = 90.0) -> None:
        """Wait until so many workers, those that are gone included, have started since the beginning.

        Raises:
            LiteLLMProxyError: they have not.
        """
        _wait_until(lambda: self.log().count(_READY) >= number, timeout, f"{number} workers have started")

    @contextlib.contextmanager
    def client(self, worker: int | None = None) -> Iterator[httpx.Client]:
        """A client with the master key.

        Args:
            worker: the process that all its requests go to: they use one connection, which no other one has taken.
        """
        headers = {"authorization": f"Bearer {self.master_key}"}
        limits = httpx.Limits() if worker is None else httpx.Limits(max_connections=1, keepalive_expiry=None)
        with httpx.Client(base_url=self.origin, headers=headers, timeout=60, trust_env=False, limits=limits) as client:
            if worker is not None:
                self._keep_to(worker, client)
            yield client

    def _keep_to(self, worker: int, client: httpx.Client) -> None:
        with self._alone(worker):
            first = _port(client.get("/health/liveliness"))

        def check(answer: httpx.Response) -> None:
            if _port(answer) != first:
                raise LiteLLMProxyError("the connection to one worker was replaced: another one may have answered")

        client.event_hooks = {"response": [check]}

    @contextlib.contextmanager
    def _alone(self, worker: int) -> Iterator[None]:
        """Hold the other workers for a moment: this one takes every new connection."""
        others = [each for each in self.workers() if each != worker]
        for each in others:
            os.kill(each, signal.SIGSTOP)
        try:
            _wait_until(lambda: all(_state(each) in ("T", "") for each in others), 10.0, "the other workers are held")
            yield
        finally:
            for each in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)

    def _callback(self) -> dict[str, str]:
        """The config.yaml, and the file of an older proxy."""
        if PLUGIN not in self._config or proxy_version() >= LISTS_CALLBACKS:
            return {"config.yaml": self._config}
        config = self._config.replace(PLUGIN, f"{BESIDE}.callback")
        return {"config.yaml": config, f"{BESIDE}.py": "from litellm_gateway_plugin import callback\n"}

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
                    alive = client.get(f"{self.origin}/health/liveliness").status_code == httpx.codes.OK
                    if alive and self.log().count(_READY) >= self._workers:
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


def _state(pid: int) -> str:
    """The letter under which Linux knows a process's state (proc(5)); "" when there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _port(answer: httpx.Response) -> int:
    """Our end of the connection that an answer came by."""
    port: int = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    return port


def _wait_until(true: Callable[[], bool], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise LiteLLMProxyError(f"waited {timeout:g} s until {what}")
        time.sleep(0.02)
