"""`litellm-gateway` in a process of its own, where exit status, streams, signals or imports matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = (  # where the tests are a job in the background, their children would ignore Ctrl-C
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from litellm_gateway_plugin.cli import main; sys.exit(main(prog_name='litellm-gateway'))"
)
GUARD_S = 60

HEAVY = ("litellm", "httpx", "pydantic", "rich", "aiohttp")


def started(*arguments: str, cwd: Path | None = None, stdin: int | None = None) -> subprocess.Popen[str]:
    """The command line with these arguments, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def ended(*arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Its status, its output and its errors."""
    with started(*arguments, cwd=cwd, stdin=subprocess.DEVNULL) as process:
        output, errors = process.communicate(timeout=GUARD_S)
    return process.returncode, output, errors


def interrupted(process: subprocess.Popen[str], ready: Callable[[], object]) -> tuple[int, str]:
    """Ctrl-C as soon as it is ready: its status and its errors."""
    with process:
        ready()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=GUARD_S)
    return process.returncode, errors


def on_a_terminal(*arguments: str, columns: int = 100) -> str:
    """What a person sees."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
        process.wait(timeout=GUARD_S)
    os.close(ours)
    return shown.decode()


def imported(arguments: Sequence[str], names: Sequence[str] = HEAVY) -> list[str]:
    """Which of these modules a command has imported when it has ended."""
    program = (
        "import sys, contextlib\n"
        "from litellm_gateway_plugin.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({list(arguments)!r}, prog_name='litellm-gateway')\n"
        f"print(*[name for name in {list(names)!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=GUARD_S)
    return done.stdout.splitlines()[-1].split()
