"""`python -m litellm_gateway_plugin.testing`: a gateway with bad manners to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from .gateway import PickyGateway
from .presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .manners import Manners


def main(arguments: Sequence[str] | None = None, wait: Callable[[], object] | None = None) -> int:
    """Serve until interrupted.

    Args:
        arguments: of the command line; None for those of the process.
        wait: what to do meanwhile; None to wait for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    with PickyGateway(_manners(options), host=options.host, port=options.port) as gateway:
        _introduce(gateway)
        try:
            _follow(gateway) if options.follow else (wait or threading.Event().wait)()
        except KeyboardInterrupt:
            _say("")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m litellm_gateway_plugin.testing", description=__doc__)
    parser.add_argument("--manner", choices=sorted(PRESETS), default="seed-000", help="whose manners (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 for any free one")
    parser.add_argument("--upstream", metavar="URL", help="the base to which accepted requests are sent on")
    parser.add_argument("--upstream-style", default="bearer", help="the upstream's credential style (%(default)s)")
    parser.add_argument(
        "--upstream-key-from", metavar="NAME", help="the environment variable that holds the upstream's key"
    )
    parser.add_argument("--follow", action="store_true", help="print a line for each request")
    return parser


def _manners(options: argparse.Namespace) -> Manners:
    key = os.environ.get(options.upstream_key_from) if options.upstream_key_from else None
    manners = PRESETS[options.manner]
    return replace(manners, upstream=options.upstream, upstream_key=key, upstream_style=options.upstream_style)


def _introduce(gateway: PickyGateway) -> None:
    manners = gateway.manners
    _say(f"base   {gateway.base()}")
    _say(f"key    {manners.key or '(none needed)'}")
    _say(f"chat   {', '.join(manners.styles_for('chat'))}")
    _say(f"models {', '.join(manners.models)}")
    _say(f"export LITELLM_GATEWAY_API_BASE={gateway.base()}")
    if manners.key:
        _say(f"export LITELLM_GATEWAY_API_KEY={shlex.quote(manners.key)}")


def _follow(gateway: PickyGateway) -> None:
    told = 0
    while True:
        for seen in gateway.wait_for(told + 1, timeout=threading.TIMEOUT_MAX)[told:]:
            _say(f"{seen.method} {seen.path} {seen.style}: {seen.status} {seen.verdict}")
            told += 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # whoever started this in the background reads the base from a pipe


if __name__ == "__main__":
    raise SystemExit(main())
