"""The LiteLLM proxy for a benchmark: its processes, the memory they hold and the CPU they have used. Linux."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .processes import ROOT, environment, free_port

VENV = Path(os.environ.get("LITELLM_PROXY_VENV") or ROOT / ".proxy-venv")
PROGRAM = VENV / "bin" / "litellm"
MASTER_KEY = "sk-benchmark-proxy"
START_SECONDS = 180.0
HEALTH_SECONDS = 120
"""In which a worker has to prove that it lives. With the usual 5, uvicorn kills those that start on a busy machine."""
STARTED = "Application startup complete."
LOG_TAIL = 4000
SESSION, USER_TICKS, SYSTEM_TICKS = 3, 11, 12
"""Places in /proc/<pid>/stat, counted from behind the name of the program (see proc_pid_stat(5))."""


def installed() -> bool:
    return PROGRAM.exists() and Path("/proc/self/statm").exists()


class Proxy:
    """A proxy on a free port, for the length of a `with`.

    Args:
        config: its configuration.
        workers: its processes that answer.
        settings: variables for it, beside those of every benchmark.
    """

    def __init__(self, config: Mapping[str, Any], workers: int, settings: Mapping[str, str] | None = None) -> None:
        self._workers = workers
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-proxy-")
        folder = Path(self._folder.name)
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML too
        self._log = folder / "log"
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        command = [str(PROGRAM), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--num_workers", str(workers), "--telemetry", "False"]
        command += ["--timeout_worker_healthcheck", str(HEALTH_SECONDS)]
        own = {"LITELLM_MASTER_KEY": MASTER_KEY, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment(), **own, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Until every worker has started. Raises RuntimeError with the end of the log when they do not."""
        until = time.monotonic() + START_SECONDS
        while self._log.read_text().count(STARTED) < self._workers:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the LiteLLM proxy did not start:\n{self._log.read_text()[-LOG_TAIL:]}")
            time.sleep(0.2)

    @property
    def pids(self) -> frozenset[int]:
        """Of its processes; others than before mean that a worker has died."""
        return frozenset(int(path.name) for path, _ in self._processes())

    @property
    def cpu(self) -> float:
        """Seconds, of all its processes."""
        ticks = sum(int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS]) for _, fields in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def resident_mb(self) -> float:
        """Of all its processes together; what they share counts in each."""
        pages = sum(int((path / "statm").read_text().split()[1]) for path, _ in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _processes(self) -> Iterator[tuple[Path, list[str]]]:
        """It leads a session, and all that it starts belongs to that."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended in the meantime
                continue
            if int(fields[SESSION]) == self._process.pid:
                yield path, fields

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()
