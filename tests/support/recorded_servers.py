"""The real servers that cassettes are recorded from. Nothing here runs when cassettes are played.

Each is a context manager that gives the server's origin and accepts `KEY` alone. llama.cpp, with the tiny deterministic
model, stands behind all of them but LitServe: a recording that is made anew says the same words.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

from litellm_gateway_plugin.testing.llamacpp import LlamaServer
from litellm_gateway_plugin.testing.tinymodel import tiny_model_path
from tests.support.litellm_proxy import LiteLLMProxy
from tests.support.litserve_server import LitServe
from tests.support.nginx import Nginx
from tests.support.redaction import KEY

MODELS = ("acme/Tiny-Chat", "acme/Tiny-Coder")
"""What the LiteLLM proxy lists."""


@contextlib.contextmanager
def llamacpp() -> Iterator[str]:
    """llama.cpp: Bearer, x-api-key and raw; chat with or without /v1, embeddings with it only."""
    with LlamaServer(tiny_model_path(), api_key=KEY, embeddings=True, model_id="tiny") as server:
        yield server.origin


@contextlib.contextmanager
def litserve() -> Iterator[str]:
    """LitServe: X-API-Key alone, under /v1 alone, and no listing."""
    with LitServe(api_key=KEY) as server:
        yield server.origin


@contextlib.contextmanager
def litellm_proxy() -> Iterator[str]:
    """The LiteLLM proxy: Bearer, x-api-key and api-key; it knows its models and says so with a 400."""
    with llamacpp() as upstream:
        params = {"model": "openai/tiny", "api_base": f"{upstream}/v1", "api_key": KEY}
        config = {"model_list": [{"model_name": name, "litellm_params": params} for name in MODELS]}
        with LiteLLMProxy(json.dumps(config), master_key=KEY) as server:
            yield server.origin


# What nginx puts in front of a server. WHERE is that server, and KEY the key: the client's, and the one that it takes.
TO_UPSTREAM = """
    proxy_set_header Authorization "Bearer KEY";
    proxy_set_header X-API-Key "";
    proxy_set_header Ocp-Apim-Subscription-Key "";
    proxy_set_header Accept-Encoding "";
    proxy_buffering off;
"""

X_API_KEY_BEHIND_A_PREFIX = """
location /api/openai/v1/ {
    if ($http_x_api_key != "KEY") { return 401 '{"message":"Unauthorized"}'; }
    proxy_pass WHERE/v1/;
}
"""

# What Azure API Management says to a request without its header.
API_MANAGEMENT = """
location /v1/ {
    error_page 401 = @refused;
    if ($http_ocp_apim_subscription_key != "KEY") { return 401; }
    proxy_pass WHERE;
}
location @refused {
    set $names 'name="Ocp-Apim-Subscription-Key",type="header"';
    add_header WWW-Authenticate 'AzureApiManagementKey realm="http://gateway.internal/v1",$names' always;
    return 401 '{"statusCode":401,"message":"Access denied due to missing subscription key."}';
}
"""

RAW_KEY = """
location /v1/ {
    if ($http_authorization != "KEY") { return 403 '{"message":"Forbidden"}'; }
    proxy_pass WHERE;
}
"""

CONSOLE = """
location /v1/ {
    if ($http_authorization != "Bearer KEY") { return 401 '{"detail":"Unauthorized"}'; }
    proxy_pass WHERE;
}
location / {
    default_type text/html;
    return 200 '<!doctype html><html><head><title>Model console</title></head><body>Sign in</body></html>';
}
"""

# The listing takes one style and the chat another, like the gateway that this plugin was first written for.
STYLE_PER_SURFACE = """
location = /v1/models {
    if ($http_x_api_key != "KEY") { return 401 '{"detail":"Invalid API key"}'; }
    proxy_pass WHERE;
}
location = /v1/chat/completions {
    if ($http_authorization != "Bearer KEY") { return 401 '{"detail":"Invalid token."}'; }
    proxy_pass WHERE;
}
"""

ONE_AT_A_TIME = """
limit_conn everyone 1;
location /v1/ { proxy_pass WHERE; }
location = /slow { limit_rate_after 1k; limit_rate 1; root PLACE; }
"""

A_ZONE = "limit_req_zone $binary_remote_addr zone=everyone:32k rate=1r/m;"
ONE_PER_MINUTE = """
location /v1/ {
    limit_req zone=everyone;
    limit_req_status 429;
    error_page 429 = @full;
    proxy_pass WHERE;
}
location @full {
    add_header Retry-After 17 always;
    return 429 '{"error":{"message":"Too many requests","type":"rate_limit_error","param":null,"code":null}}';
}
"""


@contextlib.contextmanager
def behind_nginx(server: str, upstream: Callable[[], AbstractContextManager[str]], http: str = "") -> Iterator[str]:
    """A server behind nginx with these rules."""
    with upstream() as where:
        rules = (TO_UPSTREAM + server).replace("KEY", KEY).replace("WHERE", where)
        with Nginx(rules, http=http) as nginx:
            yield nginx.origin


@contextlib.contextmanager
def full() -> Iterator[str]:
    """nginx with room for one connection, and somebody in it who takes his time."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "slow").write_bytes(b"x" * 4096)
        Path(place).chmod(0o755)
        zone = "limit_conn_zone $binary_remote_addr zone=everyone:32k;"
        with behind_nginx(ONE_AT_A_TIME.replace("PLACE", place), llamacpp, zone) as origin:
            where = urlsplit(origin)
            with socket.create_connection((where.hostname or "", where.port or 80), timeout=10) as occupant:
                occupant.sendall(b"GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n")
                assert occupant.recv(12) == b"HTTP/1.1 200"
                yield origin


def _nginx(server: str, upstream: Callable[[], AbstractContextManager[str]] = llamacpp, http: str = "") -> Server:
    return functools.partial(behind_nginx, server, upstream, http)


Server = Callable[[], AbstractContextManager[str]]
SERVERS: Mapping[str, Server] = {
    "llama.cpp": llamacpp,
    "LitServe": litserve,
    "LiteLLM proxy": litellm_proxy,
    "nginx: x-api-key behind a prefix": _nginx(X_API_KEY_BEHIND_A_PREFIX),
    "nginx: API management": _nginx(API_MANAGEMENT),
    "nginx: raw key": _nginx(RAW_KEY),
    "nginx: console": _nginx(CONSOLE),
    "nginx: a style per surface": _nginx(STYLE_PER_SURFACE, litellm_proxy),
    "nginx: full": full,
    "nginx: one per minute": _nginx(ONE_PER_MINUTE, http=A_ZONE),
}
