"""The checks of a gateway: what comes out, and which requests the gateway has seen for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litellm_gateway_plugin.catalogue import Listing
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.doctor.checks import KINDS, NOT_SENT, run_checks
from litellm_gateway_plugin.doctor.report import Check, Outcome
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, Manners, PickyGateway
from litellm_gateway_plugin.testing.answers import json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.urls import parse_base

PASS, FAIL, CAPACITY, SKIPPED = Outcome.PASS, Outcome.FAIL, Outcome.CAPACITY, Outcome.SKIPPED
TEXT, VLM, EMBEDDING = "test/text", "test/vlm", "test/embedding"
PLAIN = Manners(models=(TEXT, VLM, EMBEDDING))
TEXT_ALONE, NONE = Models(text=TEXT), Models()
NAMES = tuple(kind.name for kind in KINDS)
CHAT_CHECKS = ("direct_json", "stream", "tools", "router", "parallel", "model_list")

Run = Callable[..., dict[str, Check]]

pytestmark = pytest.mark.matrix


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No cache on disk, and nobody waits long."""
    isolated_environment.setenv("LITELLM_GATEWAY_CACHE", "false")
    return isolated_environment


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Checks of one gateway by name; nothing may be printed, and no text may hold the key."""

    def made(examined: Examined, **options: Any) -> dict[str, Check]:
        (checks,) = run_checks([examined], **{"timeout": 20.0, "environment": {}, **options})
        printed = "".join(capfd.readouterr())
        assert printed == ""
        assert FAKE_KEY not in repr(checks)
        return {check.name: check for check in checks}

    return made


def examined(
    server: PickyGateway | str,
    models: Models = TEXT_ALONE,
    listing: Listing | None = None,
    key: str | None = FAKE_KEY,
    named: Models = NONE,
) -> Examined:
    url = server if isinstance(server, str) else server.base()
    base = parse_base(url)
    target = Target(str(base), base, key, models=named, configured=False)
    return Examined(target, models, listing, (), works_base=str(base), works_style="bearer")


def outcomes(checks: Mapping[str, Check]) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in checks.items()}


def test_a_gateway_that_can_do_everything(gateway: GatewayFactory, run: Run) -> None:
    server = gateway(replace(PRESETS["seed-000"], models=(TEXT, VLM, EMBEDDING)))
    everything = examined(server.url, Models(TEXT, VLM, "", EMBEDDING))
    checks = run(everything)
    assert tuple(checks) == NAMES
    assert set(outcomes(checks).values()) == {PASS}
    # the first call negotiates: another form of the base, another style; all that follow know
    assert [(seen.path, seen.style, seen.status) for seen in server.requests("chat")[:4]] == [
        ("/chat/completions", "bearer", 404),
        ("/v1/chat/completions", "bearer", 401),
        ("/v1/chat/completions", "x-api-key", 200),
        ("/v1/chat/completions", "x-api-key", 200),
    ]
    assert [check.requests for check in checks.values()] == [3, 1, 1, 1, 1, 1, 2, 1]
    assert len(server.seen) == sum(check.requests or 0 for check in checks.values())
    assert len(server.served) == sum(kind.calls for kind in KINDS)
    assert [check.model for check in checks.values()] == [TEXT, TEXT, TEXT, VLM, EMBEDDING, TEXT, TEXT, TEXT]


def test_what_each_check_sends_and_tells(gateway: GatewayFactory, run: Run) -> None:
    server = gateway(PLAIN)
    checks = run(examined(server, Models(TEXT, VLM, "", EMBEDDING)))
    direct, stream, tools, picture, embeddings, router, *parallel, model_list = [seen.body for seen in server.served]
    for body in (direct, router, *parallel, model_list):
        assert body["messages"] == [{"role": "user", "content": 'Return only {"ok":true} as JSON.'}]
        assert body["response_format"] == {"type": "json_object"}
    assert stream["stream"] is True
    assert tools["tools"][0]["function"]["name"] == "get_weather"
    assert picture["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert embeddings["input"] == ["hello"]
    assert len(parallel) == 2
    assert checks["direct_json"].words == '{"ok":true}'
    assert checks["stream"].words == '"echo: Say hello in one short sentence.", stop'
    assert 0 < (checks["stream"].first_token_s or 0) <= (checks["stream"].seconds or 0)
    assert checks["tools"].words.startswith("get_weather({")
    assert "[saw image/png of" in checks["picture"].words
    assert checks["embeddings"].words == "8 dimensions"
    assert checks["parallel"].served == "2/2"


@pytest.mark.parametrize("room", range(60, 80, 4))
def test_a_key_that_a_model_repeats_is_not_shown_in_part(gateway: GatewayFactory, run: Run, room: int) -> None:
    """Where an answer is cut off, the part of a key that is left would not be found."""
    server = gateway(PLAIN)
    message = {"role": "assistant", "content": "." * room + FAKE_KEY}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": TEXT}
    server.full(shape=json_answer(200, {**answer, "choices": [{"index": 0, "message": message}]}))
    check = run(examined(server), skip=[name for name in NAMES if name != "direct_json"])["direct_json"]
    assert check.outcome is FAIL
    assert "." * room in check.words
    assert FAKE_KEY[:4] not in check.words


def test_the_two_of_parallel_are_under_way_at_the_same_time(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    with server.hold() as held, ThreadPoolExecutor(1) as pool:
        skip = [name for name in NAMES if name != "parallel"]
        future = pool.submit(run_checks, [examined(server)], timeout=30, skip=skip)
        held.wait_held(2)
        held.release()
        ((*_, check, _),) = future.result(30)
    assert (check.outcome, check.served) == (PASS, "2/2")


@pytest.mark.parametrize(
    ("vendor", "spelt"), [("Qwen/Qwen3-32B", "Qwen/Qwen3-32B"), ("acme/clever", "gateway/acme/clever")]
)
def test_a_vendor_id_is_written_as_users_write_it_where_it_can_be_routed(
    vendor: str, spelt: str, gateway: GatewayFactory, run: Run, environment: pytest.MonkeyPatch
) -> None:
    import litellm

    asked: list[str] = []
    completion = litellm.completion

    def noted(**arguments: Any) -> Any:
        asked.append(arguments["model"])
        return completion(**arguments)

    environment.setattr(litellm, "completion", noted)
    server = gateway(replace(PLAIN, models=(vendor,)))
    checks = run(examined(server, Models(text=vendor)), skip=[name for name in NAMES if name != "direct_json"])
    assert checks["direct_json"].outcome is PASS
    assert asked[-1] == spelt
    assert [seen.model for seen in server.served] == [vendor]


def test_two_accounts_at_one_base_are_told_apart(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    right, wrong = examined(server), examined(server, key="another-" + FAKE_KEY[3:])
    one, other = run_checks([right, wrong], timeout=20, skip=[name for name in NAMES if name != "direct_json"])
    assert (one[0].outcome, other[0].outcome) == (PASS, FAIL)
    assert "key" in other[0].words
    assert FAKE_KEY[3:] not in repr(other)


def test_gateways_are_checked_side_by_side(gateway: GatewayFactory) -> None:
    servers = [gateway(PLAIN), gateway(PLAIN)]
    told: list[tuple[str, str]] = []
    with servers[0].hold() as held:

        def tell(target: Target, check: Check) -> None:
            told.append((target.label, check.name))
            if len(told) == len(NAMES):  # all of the other one's are done while the first one's first has no answer
                held.release()

        first, second = run_checks([examined(each) for each in servers], timeout=30, tell=tell)
    assert {label for label, _ in told[: len(NAMES)]} == {servers[1].base()}
    assert [check.name for check in first] == [check.name for check in second] == list(NAMES)


def test_a_gateway_on_which_chat_does_not_work_is_not_asked(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    silent = replace(examined(server), works_base="", works_style="")
    assert run_checks([silent], timeout=5) == [()]
    assert server.seen == []


def test_without_a_model_nothing_is_sent(gateway: GatewayFactory, run: Run) -> None:
    server = gateway(PLAIN)
    checks = run(examined(server, Models()))
    assert set(outcomes(checks).values()) == {SKIPPED}
    assert checks["direct_json"].hint == "set LITELLM_GATEWAY_TEXT_MODEL"
    assert server.seen == []


def test_what_is_left_out_is_skipped(gateway: GatewayFactory, run: Run) -> None:
    server = gateway(PLAIN)
    left_out = ("stream", "parallel", "router")
    checks = run(examined(server), skip=left_out)
    assert [name for name, check in checks.items() if check.words == "left out, as asked"] == [
        "stream",
        "router",
        "parallel",
    ]
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ({}, "set CHUTES_VLM_MODEL to enable"),
        ({"CHUTES_API_BASE": "x"}, "set CHUTES_VLM_MODEL to enable"),
        ({"CHUTES_API_BASE": "x", "LITELLM_GATEWAY_CACHE": "x"}, "set CHUTES_VLM_MODEL to enable"),
        ({"LITELLM_GATEWAY_API_BASE": "x"}, "set LITELLM_GATEWAY_VLM_MODEL to enable"),
    ],
)
def test_how_to_enable_pictures(names: Mapping[str, str], hint: str, gateway: GatewayFactory, run: Run) -> None:
    checks = run(examined(gateway(PLAIN)), environment=names, skip=CHAT_CHECKS)
    assert (checks["picture"].outcome, checks["picture"].hint) == (SKIPPED, hint)
    assert checks["embeddings"].outcome is SKIPPED


class TestAFullGateway:
    @pytest.mark.parametrize("retry_after", ["7", None])
    def test_everything_else_is_not_sent(self, retry_after: str | None, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        server.full(retry_after=retry_after)
        checks = run(examined(server))
        chat = {name: checks[name] for name in CHAT_CHECKS}
        assert set(outcomes(chat).values()) == {CAPACITY}
        assert [check.words for check in chat.values()][1:] == [NOT_SENT] * 5
        assert "full" in chat["direct_json"].words
        assert [seen.verdict for seen in server.seen] == ["full"]
        waits = [check.retry_after_s for check in chat.values()]
        assert all((wait or 0) <= 7 for wait in waits)
        assert waits[0] == 7 if retry_after else (waits[0] or 0) <= 0.5  # without a time, the gate's own pause

    def test_another_model_is_asked(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        server.full(times=1, retry_after="7")
        checks = run(examined(server, Models(TEXT, VLM)))
        assert checks["direct_json"].outcome is CAPACITY
        assert checks["picture"].outcome is PASS
        assert [seen.model for seen in server.seen] == [TEXT, VLM]

    def test_a_limit_of_the_whole_key_holds_for_every_model(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        server.full(times=1, retry_after=7, spelling="reset_requests")
        checks = run(examined(server, Models(TEXT, VLM)))
        assert (checks["picture"].outcome, checks["picture"].words) == (CAPACITY, NOT_SENT)
        assert len(server.seen) == 1

    def test_one_of_two_is_served(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)

        def tell(target: Target, check: Check) -> None:
            if check.name == "direct_json":
                server.full(times=1, retry_after="7")

        checks = run(examined(server), skip=["stream", "tools", "router"], tell=tell)
        assert (checks["parallel"].outcome, checks["parallel"].served) == (CAPACITY, "1/2")
        assert checks["parallel"].retry_after_s == 7
        assert checks["model_list"].words == NOT_SENT
        assert [seen.verdict for seen in server.seen].count("full") == 1
        assert len(server.seen) == 3

    def test_nobody_waits_for_it(self, gateway: GatewayFactory, run: Run) -> None:
        """Of two first calls one asks, and the other one waits for what it hears: it must not wait out the pause."""
        server = gateway(PLAIN)
        server.full(times=1, retry_after="15")
        checks = run(examined(server), skip=[name for name in NAMES if name != "parallel"])
        assert (checks["parallel"].outcome, checks["parallel"].served) == (CAPACITY, "0/2")
        assert len(server.seen) == 1

    def test_a_rate_limit_of_the_operators_own_is_kept_and_no_failure(
        self, gateway: GatewayFactory, run: Run, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setenv("LITELLM_GATEWAY_RATE_LIMIT_QPS", "0.8")
        server = gateway(PLAIN)
        skip = [name for name in NAMES if name not in ("stream", "parallel")]
        checks = run(examined(server), skip=skip)
        assert (checks["stream"].outcome, checks["parallel"].outcome) == (PASS, PASS)
        first, second, third = (seen.at for seen in server.seen)
        assert min(second - first, third - second) > 1

    def test_a_list_of_models_says_none_when_it_is_full(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        server.full(retry_after="7")
        checks = run(examined(server), skip=[name for name in NAMES if name != "model_list"])
        assert checks["model_list"].outcome is CAPACITY
        assert 0 < (checks["model_list"].retry_after_s or 0) <= 7
        assert len(server.seen) == 1

    def test_without_the_gate(self, gateway: GatewayFactory, run: Run, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_GATE", "false")
        server = gateway(PLAIN)
        server.full(retry_after="7")
        checks = run(examined(server))
        assert {checks[name].outcome for name in CHAT_CHECKS} == {CAPACITY}
        assert len(server.seen) == 1

    def test_a_503_that_stays_one(self, gateway: GatewayFactory, run: Run, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_MAP_503", "false")
        server = gateway(replace(PLAIN, full="llama_cpp"))
        server.full(retry_after="7")
        assert run(examined(server))["direct_json"].outcome is CAPACITY


class TestWhatGoesWrong:
    def test_json_mode_is_refused(self, gateway: GatewayFactory, run: Run) -> None:
        refusal = json_answer(400, {"error": {"message": "response_format is not supported", "type": "invalid"}})
        server = gateway(replace(PLAIN, reply=lambda body: refusal if "response_format" in body else "hello"))
        checks = run(examined(server), skip=["tools"])
        assert {name for name, check in checks.items() if check.outcome is FAIL} == {
            "direct_json",
            "router",
            "parallel",
            "model_list",
        }
        assert checks["stream"].outcome is PASS
        for name in ("direct_json", "router", "parallel"):
            assert "response_format is not supported" in checks[name].words
            assert not checks[name].words.startswith("litellm.")
            assert "odel group" not in checks[name].words.lower()
        assert "first_success" in checks["model_list"].hint
        assert checks["parallel"].served == "0/2"
        assert len(server.seen) == 6

    def test_one_of_two_that_fails_says_more_than_one_that_finds_no_room(
        self, gateway: GatewayFactory, run: Run
    ) -> None:
        answers = iter((400, 429))
        server = gateway(replace(PLAIN, reply=lambda body: json_answer(next(answers), {"error": "not like this"})))
        check = run(examined(server), skip=[name for name in NAMES if name != "parallel"])["parallel"]
        assert (check.outcome, check.served) == (FAIL, "0/2")
        assert [seen.status for seen in server.seen] == [400, 429]

    def test_any_json_object_will_do(self, gateway: GatewayFactory, run: Run) -> None:
        checks = run(examined(gateway(replace(PLAIN, reply='{"no":true}'))))
        for name in ("direct_json", "router", "parallel", "model_list"):
            assert (checks[name].outcome, checks[name].words) == (PASS, '{"no":true}')

    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            ("Sure, here it is!", "no JSON object"),
            ("[1]", "no JSON object"),
        ],
    )
    def test_an_answer_that_is_not_the_json(self, reply: str, words: str, gateway: GatewayFactory, run: Run) -> None:
        checks = run(examined(gateway(replace(PLAIN, reply=reply))))
        for name in ("direct_json", "router", "parallel", "model_list"):
            assert checks[name].outcome is FAIL
            assert words in checks[name].words

    def test_tools_answered_in_words(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, reply="It is sunny."))
        check = run(examined(server), skip=[name for name in NAMES if name != "tools"])["tools"]
        assert (check.outcome, check.words) == (FAIL, 'it answered in words and called no tool: "It is sunny."')
        assert "LITELLM_GATEWAY_TOOLS_MODEL" in check.hint
        assert len(server.seen) == 1

    def test_tools_with_broken_arguments(self, gateway: GatewayFactory, run: Run) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":'}}
        server = gateway(replace(PLAIN, reply={"role": "assistant", "content": None, "tool_calls": [call]}))
        check = run(examined(server), skip=[name for name in NAMES if name != "tools"])["tools"]
        assert check.outcome is FAIL
        assert "no JSON object" in check.words

    def test_a_stream_that_is_cut_off(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        server.fault("truncated-stream")
        checks = run(examined(server), skip=["direct_json"])
        assert checks["stream"].outcome is FAIL
        assert checks["stream"].words == f"{server.url}: the connection ended before the answer was complete."
        assert checks["router"].outcome is PASS

    def test_a_stream_that_does_not_end(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, event_delay=0.2))
        options = {"timeout": 0.5, "skip": [name for name in NAMES if name != "stream"]}
        check = run(examined(server), **options)["stream"]
        assert check.outcome is FAIL
        assert check.words == "the stream was cut off: it had not ended after 0.5 s"
        server.wait_for(1, ended=True)
        assert server.seen[0].ended == "client left"

    def test_a_model_that_thinks_until_nothing_is_left(self, gateway: GatewayFactory, run: Run) -> None:
        empty = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": TEXT,
            "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": ""}}],
        }
        server = gateway(replace(PLAIN, reply=lambda body: json_answer(200, empty)))
        check = run(examined(server), skip=[name for name in NAMES if name != "direct_json"])["direct_json"]
        assert check.outcome is FAIL
        assert "512 tokens" in check.words
        assert "finish_reason length" in check.words

    def test_no_embedding_in_the_answer(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, absent=("embeddings",)))
        check = run(examined(server, Models(TEXT, embedding=EMBEDDING)), skip=CHAT_CHECKS)["embeddings"]
        assert check.outcome is FAIL

    def test_nobody_is_there(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        url = server.url
        server.stop()
        checks = run(examined(url))
        assert {checks[name].outcome for name in CHAT_CHECKS} == {FAIL}
        assert url in checks["direct_json"].words
        assert checks["parallel"].served == "0/2"

    def test_no_answer_in_time(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        with server.hold():
            checks = run(examined(server), timeout=0.4)
        assert {checks[name].outcome for name in CHAT_CHECKS} == {FAIL}
        for name in ("direct_json", "stream", "router", "parallel"):
            assert "0.4" in checks[name].words
        # of the two of parallel, the second one may still be waiting for what the first one hears
        assert len(server.seen) in (6, 7)

    def test_a_gateway_that_quotes_the_key(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, reply=f"your key is {FAKE_KEY}"))
        checks = run(examined(server))
        assert "[key]" in checks["direct_json"].words
        assert "[key]" in checks["stream"].words


def listing_of(**facts: Any) -> Listing:
    found = read_listing({"data": [{"id": TEXT, **facts}]})
    assert found is not None
    return found


class TestAModelThatCallsNoTools:
    LISTED = listing_of(supported_features=["json_mode"])

    def test_it_is_not_the_gateways_fault(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        check = run(examined(server, listing=self.LISTED), skip=[name for name in NAMES if name != "tools"])["tools"]
        assert (check.outcome, check.hint) == (SKIPPED, "set LITELLM_GATEWAY_TOOLS_MODEL")
        assert server.seen == []

    def test_the_operators_word_goes_first(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        told = examined(server, Models(TEXT, tools=TEXT), self.LISTED, named=Models(tools=TEXT))
        assert run(told, skip=[name for name in NAMES if name != "tools"])["tools"].outcome is PASS
        assert len(server.seen) == 1


class TestCredentials:
    def test_a_gateway_without_a_key(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, key=None))
        checks = run(examined(server, key=None))
        assert {checks[name].outcome for name in CHAT_CHECKS} == {PASS}
        assert set(server.styles("chat")) == {"none"}

    def test_user_and_password_in_the_base(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(replace(PLAIN, key=None))
        base = parse_base(server.url.replace("://", "://us%3Aer:pass%40word@"))
        target = Target(str(base), base, base.userinfo, named="basic")
        checks = run(replace(examined(server), target=target))
        assert {checks[name].outcome for name in CHAT_CHECKS} == {PASS}
        assert "pass" not in repr(checks["direct_json"])
        assert {seen.headers["authorization"].partition(" ")[0] for seen in server.seen} == {"Basic"}

    def test_the_query_goes_along(self, gateway: GatewayFactory, run: Run) -> None:
        server = gateway(PLAIN)
        run(examined(server.url + "/v1?api-version=7"), skip=["parallel"])
        assert {seen.query for seen in server.seen} == {"api-version=7"}


class TestLitellmIsLeftAsItWas:
    def test_no_plugin_before_and_none_after(
        self, gateway: GatewayFactory, run: Run, litellm_state: Callable[[], Mapping[str, str]]
    ) -> None:
        from litellm_gateway_plugin import installation

        before = litellm_state()
        run(examined(gateway(PLAIN), Models(TEXT, VLM, "", EMBEDDING)))
        assert installation.current() is None
        assert litellm_state() == before

    def test_a_plugin_that_is_there_is_used_and_stays(
        self, gateway: GatewayFactory, run: Run, litellm_state: Callable[[], Mapping[str, str]]
    ) -> None:
        import litellm_gateway_plugin as lgp
        from litellm_gateway_plugin import installation

        mine = lgp.install(cold_grace_s=0.5)
        try:
            before = litellm_state()
            server = gateway(PLAIN)
            run(examined(server.url))
            now = installation.current()
            assert now is not None
            assert now.gateway is mine
            assert litellm_state() == before
            run(examined(server.url))
            assert server.seen[-1].status == 200
            assert server.paths("chat").count("/chat/completions") == 1  # what was learnt is still known
        finally:
            lgp.uninstall()


PROGRAM = """
import json, sys
from litellm_gateway_plugin.doctor.checks import run_checks
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.urls import parse_base

base = parse_base(sys.argv[1])
target = Target("x", base, sys.argv[2])
(checks,) = run_checks([Examined(target, Models("test/text"), None, (), str(base))], timeout=20)
json.dump([check.outcome.value for check in checks], sys.stdout)
"""


@pytest.mark.slow
def test_a_program_says_nothing_else_and_ends(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    server.fault("500", times=2)
    command = [sys.executable, "-X", "dev", "-W", "ignore:unclosed event loop", "-c", PROGRAM, server.url, FAKE_KEY]
    environment = {**os.environ, "LITELLM_LOG": "DEBUG"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert json.loads(done.stdout)[:3] == ["FAIL", "FAIL", "PASS"]
    assert done.stderr == ""


def test_the_table_names_every_check_of_a_report() -> None:
    described = Check.__pydantic_fields__["name"].description or ""
    assert all(f'"{kind.name}"' in described for kind in KINDS)


@pytest.mark.real
class TestRealLlamaCpp:
    def test_all_pass(self, run: Run, tmp_path: Path) -> None:
        pytest.importorskip("xllamacpp")
        pytest.importorskip("gguf")
        from litellm_gateway_plugin.testing.llamacpp import LlamaServer
        from litellm_gateway_plugin.testing.tinymodel import write_tiny_model

        with LlamaServer(write_tiny_model(tmp_path / "tiny.gguf"), api_key=FAKE_KEY, embeddings=True) as server:
            checks = run(examined(server.base, Models("tiny", embedding="tiny")))
        assert {name for name, check in checks.items() if check.outcome is PASS} == set(NAMES) - {"picture"}
        assert checks["stream"].words == '"Hello from the tiny model.", stop'
        assert checks["tools"].words == 'get_weather({"city":"Paris"})'
        assert [check.requests for check in checks.values() if check.outcome is PASS] == [1, 1, 1, 1, 1, 2, 1]
