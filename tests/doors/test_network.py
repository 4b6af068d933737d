"""litellm's network settings, time-outs and many callers at once, through the doors."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest
import trustme

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
MESSAGES = [{"role": "user", "content": "hello"}]
PICKY = Manners(styles={"*": ("x-api-key",)})
DOORS = (Door("gateway/", False), Door("gateway/", True))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """The gateway's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_ssl_verify_of_litellm_is_honoured(
    door: Door,
    gateway: GatewayFactory,
    authority: trustme.CA,
    server_context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = gateway(PICKY, ssl=server_context)
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    with pytest.raises(litellm.APIConnectionError, match=r"(?i)certificate"):
        door.chat(MODEL, **options)
    assert server.seen == []

    monkeypatch.setattr(litellm, "ssl_verify", False)
    door.chat(MODEL, **options)
    assert server.styles("chat") == ["bearer", "x-api-key"]

    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(litellm, "ssl_verify", str(bundle))
    door.chat(MODEL, **options)
    assert server.styles("chat") == ["bearer", "x-api-key", "x-api-key"]


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_client_certificate_is_shown(
    door: Door,
    gateway: GatewayFactory,
    authority: trustme.CA,
    server_context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_REQUIRED
    server = gateway(PICKY, ssl=server_context)
    mine = tmp_path / "mine.pem"
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(str(mine))
    monkeypatch.setattr(litellm, "ssl_verify", False)
    with pytest.raises(litellm.APIConnectionError):
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    monkeypatch.setattr(litellm, "ssl_certificate", str(mine))
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert server.styles("chat") == ["bearer", "x-api-key"]


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_the_environments_proxy_is_used_and_can_be_bypassed(
    door: Door, gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    server = gateway(PICKY)
    isolated_environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(litellm.APIConnectionError):
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    isolated_environment.setenv("NO_PROXY", "127.0.0.1")
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert server.served


def test_httpx_alone_on_request(gateway: GatewayFactory) -> None:
    lgp.install(disable_aiohttp=True)
    server = gateway(PICKY)
    response = DOORS[1].chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert response._hidden_params["gateway"]["transport"] == "httpx"


@pytest.mark.parametrize("door", DOORS, ids=str)
@pytest.mark.parametrize("timeout", [0.3, httpx.Timeout(0.3, connect=5)], ids=["seconds", "httpx"])
def test_a_time_out_is_kept(timeout: Any, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with server.hold(), pytest.raises(litellm.Timeout):
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, timeout=timeout)
    assert len(server.seen) == 1


def test_litellms_own_headers_travel_along(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "headers", {"x-team": "blue"})
    server = gateway(PICKY)
    for door in DOORS:
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
        door.embed(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert {seen.headers["x-team"] for seen in server.seen} == {"blue"}


def test_a_cold_burst_of_coroutines(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)

    async def burst() -> None:
        options = {"messages": MESSAGES, "api_base": server.base(), "api_key": FAKE_KEY}
        await asyncio.gather(*(litellm.acompletion(model=MODEL, **options) for _ in range(100)))

    asyncio.run(burst())
    assert len(server.refused) <= 2
    assert len(server.served) == 100


def test_a_cold_burst_of_threads_and_loops(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"messages": MESSAGES, "api_base": server.base(), "api_key": FAKE_KEY}
    barrier = threading.Barrier(20)
    ends: list[Any] = []

    def in_a_thread(number: int) -> None:
        barrier.wait(10)
        if number % 2:
            ends.append(litellm.completion(model=f"gateway/{MODEL}", **options))
        else:
            ends.append(asyncio.run(litellm.acompletion(model=MODEL, **options)))

    threads = [threading.Thread(target=in_a_thread, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == 20
    assert len(server.refused) <= 2


def test_a_cancelled_first_caller_hands_over(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"messages": MESSAGES, "api_base": server.base(), "api_key": FAKE_KEY}

    async def program() -> Any:
        with server.hold(surfaces=("chat",)) as held:
            first = asyncio.create_task(litellm.acompletion(model=MODEL, **options))
            while not server.seen:
                await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            held.release()
        return await litellm.acompletion(model=MODEL, **options)

    response = asyncio.run(program())
    assert response.choices[0].message.content == "echo: hello"
