"""litellm as the doctor uses it: silent, with the plugin in it, and left behind as it was found."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import warnings
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from ..handle import Gateway
    from ..settings import GatewaySettings

LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "litellm_gateway_plugin", "asyncio")
"""Whoever has something to say while calls fail on purpose; what matters of it is in the checks."""

SILENT = logging.CRITICAL + 1

NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")
LOOPBACK = "127.0.0.1"

FLUSH_S = 2.0
"""Seconds for litellm's logging to come to its end."""

Answer = TypeVar("Answer")


class Await(Protocol):
    """Has a coroutine run in an event loop elsewhere, and waits for it in this thread."""

    def __call__(self, coroutine: Coroutine[Any, Any, Answer], /) -> Answer: ...


SWITCHES = ("suppress_debug_info", "set_verbose", "num_retries", "request_timeout")
"""What the doctor, or a Router that it makes, sets in litellm."""

CLASS_NAME = re.compile(r"(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?:: | - )")
"""What litellm puts before the words of an error, once or more often."""

ADDED = re.compile(
    r"\.?\s*(?:Received Model Group=|LiteLLM: model group |No fallback model group found|LiteLLM (?:Max )?Retried"
    r"|Traceback \().*",
    re.DOTALL,
)
"""What litellm and its Router put behind them."""


@contextmanager
def silence() -> Iterator[None]:
    """litellm, imported without a download; it prints, logs and warns nothing, whatever LITELLM_LOG says.

    The doctor's words are made to be passed on, and what litellm logs at DEBUG may hold a key.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        stack.enter_context(_quiet(LOGGERS))
        import litellm

        stack.enter_context(_quiet(LOGGERS))  # importing it has set levels
        stack.enter_context(unchanged())
        litellm.suppress_debug_info, litellm.set_verbose = True, False
        yield


@contextmanager
def _quiet(names: tuple[str, ...]) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(SILENT)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def unchanged() -> Iterator[None]:
    """What calls and Routers leave behind in litellm's globals is taken out again: callbacks, prices, switches.

    Its last calls too, which litellm 1.90 keeps whole.
    """
    import litellm

    from ..installation import CALLBACK_LISTS

    switches = {name: getattr(litellm, name) for name in SWITCHES}
    lists = {
        name: (each, list(each)) for name in CALLBACK_LISTS if isinstance(each := getattr(litellm, name, None), list)
    }
    known = set(litellm.model_cost)
    calls: dict[str, Any] = getattr(litellm, "error_logs", {})
    kept = dict(calls)
    try:
        yield
    finally:
        for name, value in switches.items():
            setattr(litellm, name, value)
        for name, (held, entries) in lists.items():
            held[:] = entries
            setattr(litellm, name, held)
        for name in set(litellm.model_cost) - known:
            del litellm.model_cost[name]
        calls.clear()
        calls.update(kept)


@contextmanager
def plugin(settings: GatewaySettings) -> Iterator[Gateway]:
    """The plugin in this process. One that is installed already is used as it is, and stays.

    Args:
        settings: for one that is not.

    Raises:
        errors.InvalidInput: a litellm that is too old or excluded.
    """
    from .. import installation

    was_there = installation.current() is not None
    gateway = installation.install() if was_there else installation.install(settings)
    try:
        yield gateway
    finally:
        if not was_there:
            installation.uninstall()


@contextmanager
def no_proxy() -> Iterator[None]:
    """No proxy stands between this machine and itself."""
    before = {name: os.environ.get(name) for name in NO_PROXY_NAMES}
    os.environ.update({name: ",".join(filter(None, (value, LOOPBACK))) for name, value in before.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)  # on Windows both names are one variable
            else:
                os.environ[name] = value


@contextmanager
def event_loop() -> Iterator[Await]:
    """One event loop in a thread of its own, for whoever wants something awaited, from any thread.

    One, because litellm's logging has one queue, which belongs to one loop at a time.
    """
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        over = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), over))
        await over.wait()
        with suppress(Exception):  # it only is about what litellm would say of itself
            await asyncio.wait_for(logging_worker().flush(), FLUSH_S)

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)  # or whoever waits for the loop would wait for ever

    thread = threading.Thread(target=run, name="litellm-gateway-doctor-loop", daemon=True)
    thread.start()
    loop, over = ready.result()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def logging_worker() -> Any:
    """What runs litellm's own logging, which complains when its loop ends before it has come to its end."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    return GLOBAL_LOGGING_WORKER


def words_of(error: BaseException) -> str:
    """What an error says, in one line, without what litellm puts around it; its class when that is nothing."""
    words = str(getattr(error, "message", "") or error)
    while CLASS_NAME.match(words):
        words = CLASS_NAME.sub("", words, count=1)
    return " ".join(ADDED.sub("", words).split()) or type(error).__name__
