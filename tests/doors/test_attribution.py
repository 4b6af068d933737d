"""Who answered, after which failed attempts: on what a caller holds, for loggers, and as headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.exceptions import MidStreamFallbackError
from litellm.integrations.custom_logger import CustomLogger

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.attributions import Trail, attempts_header, headers_of
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.answers import Answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
OTHER = "test/model-large"
WRONG_KEY = "sk-test-a-wrong-key"
DEAD = "http://127.0.0.1:9/v1"
MESSAGES = [{"role": "user", "content": "hello"}]
PREFIX = "x-litellm-gateway-"

pytestmark = pytest.mark.matrix


class Log(CustomLogger):
    """What a logger is given of the calls that succeeded and of those that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.calls.append(kwargs)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.calls.append(kwargs)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.failures.append(kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.failures.append(kwargs)


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    litellm.callbacks.append(made)
    yield made
    litellm.callbacks.remove(made)
    for listed in (litellm.success_callback, litellm.failure_callback, *_async_lists()):
        while made in listed:
            listed.remove(made)


def _async_lists() -> tuple[list[Any], list[Any]]:
    return litellm._async_success_callback, litellm._async_failure_callback


def drain() -> None:
    """Every thread of litellm's that logs a sync call is done."""
    from litellm.litellm_core_utils.thread_pool_executor import executor

    for _ in range(executor._max_workers):
        executor.submit(lambda: None).result()


class Way:
    """One way of calling litellm or a Router: `made` is what comes back, read to its end; `held` is what was held."""

    def __init__(self, *, awaited: bool, kind: str) -> None:
        self.awaited = awaited
        self.kind = kind

    def __str__(self) -> str:
        return f"{'async' if self.awaited else 'sync'} {self.kind}"

    def call(self, target: Any, model: str, **options: Any) -> Any:
        """The thing that a caller holds; a stream has been read."""
        if self.awaited:
            return asyncio.run(self._acall(target, model, options))
        if self.kind == "embedding":
            return target.embedding(model=model, input=["one"], **options)
        made = target.completion(model=model, messages=MESSAGES, stream=self.kind == "stream", **options)
        if self.kind == "stream":
            self.chunks = list(made)
        return made

    async def _acall(self, target: Any, model: str, options: dict[str, Any]) -> Any:
        if self.kind == "embedding":
            made = await target.aembedding(model=model, input=["one"], **options)
        else:
            made = await target.acompletion(model=model, messages=MESSAGES, stream=self.kind == "stream", **options)
        if self.kind == "stream":
            self.chunks = [chunk async for chunk in made]
        await _logged()
        return made


async def _logged() -> None:
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await asyncio.sleep(0)
    await GLOBAL_LOGGING_WORKER.flush()


KINDS = ("chat", "stream", "embedding")
WAYS = [Way(awaited=awaited, kind=kind) for awaited in (False, True) for kind in KINDS]
SPOKEN = [way for way in WAYS if way.kind != "embedding"]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture(params=SPOKEN, ids=str)
def spoken(request: pytest.FixtureRequest) -> Way:
    """A way that is a chat."""
    found: Way = request.param
    return found


def deployment(api_base: str, name: str = "group", key: str = FAKE_KEY, model: str = MODEL, **more: Any) -> Any:
    params = {"model": f"gateway/{model}", "api_base": api_base, "api_key": key, **more}
    return {"model_name": name, "litellm_params": params}


def router(*deployments: Any, **more: Any) -> litellm.Router:
    return litellm.Router(model_list=list(deployments), **{"num_retries": 0, "timeout": 20, **more})


def one_after_the_other(*deployments: Any, **more: Any) -> litellm.Router:
    """A Router whose group "group" tries these in turn. By groups: 1.90 heeds no `order` for sync embeddings."""
    names = ["group", *(f"group-{number}" for number in range(1, len(deployments)))]
    named = [{**each, "model_name": name} for each, name in zip(deployments, names, strict=True)]
    return router(*named, fallbacks=[{"group": names[1:]}], **more)


def told(thing: Any) -> dict[str, Any]:
    """The attribution, which is JSON and holds no key in any form."""
    found = lgp.attribution(thing)
    assert found is not None
    for text in (json.dumps(found), repr(found)):
        assert FAKE_KEY not in text
        assert WRONG_KEY not in text
    return found


def failures(thing: Any) -> list[tuple[str, str, str]]:
    return [(each["api_base"], each["model"], each["error"]) for each in told(thing)["attempts"]]


# What answered ----------------------------------------------------------------------------------------------------


def test_two_bases_with_the_same_model_are_told_apart(way: Way, gateway: GatewayFactory) -> None:
    for server in (gateway(), gateway()):
        report = told(way.call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY))
        assert (report["api_base"], report["served_model"], report["attempts"]) == (server.base(), MODEL, [])


def test_each_door_tells_who_answered(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": ("x-api-key",)}))
    report = told(door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY))
    assert report["api_base"] == server.base()
    assert report["auth_style"] == "x-api-key"
    assert report["requested_model"] == report["served_model"] == MODEL
    assert report["requests"] == 2
    assert isinstance(report["waited_s"], float)
    assert report["attempts"] == []


def test_a_session_doors_report_has_all_fields_of_the_providers(gateway: GatewayFactory) -> None:
    server = gateway()
    ours, session = (
        told(litellm.completion(f"{name}/{MODEL}", MESSAGES, api_base=server.base(), api_key=FAKE_KEY))
        for name in ("gateway", "openai")
    )
    assert {name: type(value) for name, value in session.items()} == {name: type(ours[name]) for name in ours}


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_every_chunk_but_litellms_own_last_one_tells_it_and_has_its_own_facts(
    awaited: bool, gateway: GatewayFactory
) -> None:
    server = gateway()
    way = Way(awaited=awaited, kind="stream")
    way.call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY)
    ours = [chunk for chunk in way.chunks if lgp.attribution(chunk)]
    assert len(ours) >= len(way.chunks) - 1 > 0
    assert {told(chunk)["api_base"] for chunk in ours} == {server.base()}
    assert {chunk._hidden_params["custom_llm_provider"] for chunk in ours} == {"gateway"}
    assert len({id(chunk._hidden_params) for chunk in ours}) == len(ours)


def test_an_async_stream_tells_it_before_it_is_read(gateway: GatewayFactory) -> None:
    server = gateway()

    async def opened() -> dict[str, Any]:
        stream = await litellm.acompletion(
            model=f"gateway/{MODEL}", messages=MESSAGES, stream=True, api_base=server.base(), api_key=FAKE_KEY
        )
        found = told(stream)
        assert stream._hidden_params["additional_headers"][f"{PREFIX}api-base"] == server.base()
        assert [chunk async for chunk in stream]
        return found

    assert asyncio.run(opened())["api_base"] == server.base()


def test_a_stream_that_opens_with_its_first_chunk_tells_it_from_then_on(gateway: GatewayFactory) -> None:
    server = gateway()

    async def read() -> Any:
        arguments = (f"gateway/{MODEL}", MESSAGES, None, None, None, None, None, None, True)
        stream = await litellm.acompletion(*arguments, api_base=server.base(), api_key=FAKE_KEY)
        assert lgp.attribution(stream) is None
        assert [chunk async for chunk in stream]
        return stream

    assert told(asyncio.run(read()))["api_base"] == server.base()


@pytest.mark.parametrize(
    "thing", [None, 3, "text", {}, [], object(), ValueError("x"), SimpleNamespace(_hidden_params=7)]
)
def test_what_is_not_ours_has_no_attribution(thing: Any) -> None:
    assert lgp.attribution(thing) is None


def test_what_is_handed_out_is_the_callers_own(gateway: GatewayFactory) -> None:
    response = litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=gateway().base(), api_key=FAKE_KEY)
    found = told(response)
    found["attempts"].append({"api_base": "x"})
    found["api_base"] = "x"
    assert told(response)["api_base"] != "x"
    assert told(response)["attempts"] == []


# What failed before -----------------------------------------------------------------------------------------------


def test_a_router_that_goes_on_by_order(spoken: Way, gateway: GatewayFactory) -> None:
    free = gateway()
    asked = router(deployment(DEAD, order=1), deployment(free.base(), order=2))
    made = spoken.call(asked, "group")
    assert told(made)["api_base"] == free.base()
    assert failures(made) == [(DEAD, MODEL, "APIConnectionError")]
    assert "cannot be reached" in told(made)["attempts"][0]["reason"]


def test_a_full_gateway_before_a_free_one_with_the_same_model(spoken: Way, gateway: GatewayFactory) -> None:
    full, free = gateway(), gateway()
    full.full(retry_after="30")
    made = spoken.call(router(deployment(full.base(), order=1), deployment(free.base(), order=2)), "group")
    assert told(made)["api_base"] == free.base()
    assert failures(made) == [(full.base(), MODEL, "RateLimitError")]


def test_a_routers_retries(way: Way, gateway: GatewayFactory) -> None:
    server = gateway()
    server.fault("500", times=2)
    asked = router(*[deployment(server.base(), model=MODEL) for _ in range(2)], num_retries=2, disable_cooldowns=True)
    made = way.call(asked, "group")
    assert failures(made) == [(server.base(), MODEL, "InternalServerError")] * 2


def test_a_routers_fallbacks(way: Way, gateway: GatewayFactory) -> None:
    picky, broken, free = gateway(), gateway(), gateway(Manners(models=(OTHER,)))
    broken.fault("500", times=None)
    asked = router(
        deployment(picky.base(), "one", key=WRONG_KEY),
        deployment(broken.base(), "two"),
        deployment(free.base(), "three", model=OTHER),
        fallbacks=[{"one": ["two", "three"]}],
    )
    made = way.call(asked, "one")
    assert (told(made)["api_base"], told(made)["served_model"]) == (free.base(), OTHER)
    assert failures(made) == [
        (picky.base(), MODEL, "AuthenticationError"),
        (broken.base(), MODEL, "InternalServerError"),
    ]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_retries_of_a_direct_call(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway()
    server.fault("500", times=1)
    made = Way(awaited=awaited, kind="chat").call(
        litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY, num_retries=1
    )
    assert failures(made) == [(server.base(), MODEL, "InternalServerError")]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_fallbacks_of_a_direct_call(awaited: bool, gateway: GatewayFactory) -> None:
    free = gateway()
    made = Way(awaited=awaited, kind="chat").call(
        litellm,
        f"gateway/{MODEL}",
        api_base=DEAD,
        api_key=WRONG_KEY,
        fallbacks=[{"model": f"gateway/{MODEL}", "api_base": free.base(), "api_key": FAKE_KEY}],
    )
    assert told(made)["api_base"] == free.base()
    assert failures(made)[-1:] == [(DEAD, MODEL, "APIConnectionError")]


def test_retries_of_the_plugins_own(
    way: Way, gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    isolated_environment.setenv("LITELLM_MAX_RETRIES", "2")
    server = gateway()
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    lgp.uninstall()
    lgp.install()
    server.fault("500", times=1)
    made = way.call(litellm, f"gateway/{MODEL}", **options)
    assert failures(made) == [(server.base(), MODEL, "InternalServerError")]
    assert told(made)["requests"] == 2

    server.fault("500", times=None)
    with pytest.raises(litellm.InternalServerError) as failed:
        way.call(litellm, f"gateway/{MODEL}", **options)
    assert failures(failed.value) == [(server.base(), MODEL, "InternalServerError")] * 3


def test_a_call_that_fails_tells_all_its_attempts(way: Way, gateway: GatewayFactory) -> None:
    picky = gateway()
    asked = one_after_the_other(deployment(DEAD), deployment(picky.base(), key=WRONG_KEY))
    with pytest.raises((litellm.APIConnectionError, litellm.AuthenticationError)) as failed:
        way.call(asked, "group")
    expected = [(DEAD, MODEL, "APIConnectionError"), (picky.base(), MODEL, "AuthenticationError")]
    assert failures(failed.value) == expected
    assert told(failed.value) == {"attempts": failed.value.gateway_attempts}


def test_the_last_errors_headers_tell_all_attempts(spoken: Way, gateway: GatewayFactory) -> None:
    picky = gateway()
    asked = router(deployment(DEAD, order=1), deployment(picky.base(), key=WRONG_KEY, order=2))
    with pytest.raises(litellm.AuthenticationError) as failed:
        spoken.call(asked, "group")
    header = failed.value.response.headers[f"{PREFIX}attempts"]
    assert header == f"{DEAD} {MODEL} APIConnectionError; {picky.base()} {MODEL} AuthenticationError"


def test_an_error_of_the_session_door(gateway: GatewayFactory) -> None:
    server = gateway()
    server.fault("500", times=None)
    with pytest.raises(litellm.InternalServerError) as failed:
        litellm.completion(f"openai/{MODEL}", MESSAGES, api_base=server.base(), api_key=FAKE_KEY, max_retries=0)
    assert failures(failed.value) == [(server.base(), MODEL, "InternalServerError")]


def test_what_cannot_be_sent_is_an_attempt_without_a_secret() -> None:
    base = f"http://user:{WRONG_KEY}@127.0.0.1:9/v1?token={FAKE_KEY}"
    with pytest.raises(litellm.BadRequestError) as failed:
        litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=base, api_key="a key with\na line break")
    assert failures(failed.value) == [(DEAD, MODEL, "BadRequestError")]


def test_a_gateway_that_says_the_key_is_not_quoted(gateway: GatewayFactory) -> None:
    said = json.dumps({"error": {"message": f"your key {WRONG_KEY} is bad. " + "no " * 200}}).encode()
    server = gateway(Manners(refusal=Answer(401, said, (("content-type", "application/json"),))))
    with pytest.raises(litellm.AuthenticationError) as failed:
        litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=server.base(), api_key=WRONG_KEY)
    (attempt,) = told(failed.value)["attempts"]
    assert len(attempt["reason"]) <= 200
    assert WRONG_KEY not in str(failed.value.response.headers)


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_stream_that_breaks_tells_it_in_its_error(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway()
    server.fault("reset-in-stream")
    with pytest.raises((litellm.APIConnectionError, MidStreamFallbackError)) as failed:
        Way(awaited=awaited, kind="stream").call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY)
    assert [each[:2] for each in failures(failed.value)] == [(server.base(), MODEL)]


# Calls are kept apart ---------------------------------------------------------------------------------------------


def test_a_callers_metadata_that_is_used_again_does_not_grow_and_mixes_nothing(
    spoken: Way, gateway: GatewayFactory
) -> None:
    free, locked = gateway(), gateway(Manners(key="another-key-of-theirs"))
    metadata: dict[str, Any] = {"mine": 1}
    sizes = []
    for _ in range(3):
        asked = router(deployment(locked.base(), order=1), deployment(free.base(), order=2))
        made = spoken.call(asked, "group", metadata=metadata)
        assert failures(made) == [(locked.base(), MODEL, "AuthenticationError")]
        sizes.append((len(metadata), len(str(metadata.get("gateway_attempts")))))
    assert metadata["mine"] == 1
    assert "gateway" not in metadata
    assert "spend_logs_metadata" not in metadata
    assert sizes[0] == sizes[-1]


def test_a_call_that_failed_leaves_nothing_to_the_next_with_its_metadata(way: Way, gateway: GatewayFactory) -> None:
    free = gateway()
    metadata: dict[str, Any] = {}
    with pytest.raises(litellm.APIConnectionError):
        way.call(router(deployment(DEAD)), "group", metadata=metadata)
    assert failures(way.call(router(deployment(free.base())), "group", metadata=metadata)) == []


def test_a_direct_callers_metadata_is_left_as_it_was(way: Way, gateway: GatewayFactory) -> None:
    server = gateway()
    metadata = {"mine": {"deep": [1]}, "spend_logs_metadata": {"theirs": 2}}
    way.call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY, metadata=metadata)
    assert metadata == {"mine": {"deep": [1]}, "spend_logs_metadata": {"theirs": 2}}
    assert "metadata" not in server.seen[-1].body
    assert "gateway_attempts" not in json.dumps(server.seen[-1].body)


@pytest.mark.parametrize("shared", [False, True], ids=["own metadata", "the same metadata"])
def test_a_trace_shared_by_calls_does_not_mix_them(shared: bool, spoken: Way, gateway: GatewayFactory) -> None:
    free, locked = gateway(), gateway(Manners(key="another-key-of-theirs"))
    kept: dict[str, Any] = {}
    for _ in range(2):
        asked = router(deployment(locked.base(), order=1), deployment(free.base(), order=2))
        metadata = kept if shared else {}
        made = spoken.call(asked, "group", metadata=metadata, litellm_trace_id="a-session")
        assert failures(made) == [(locked.base(), MODEL, "AuthenticationError")]


def test_calls_at_once_keep_their_own_attempts(gateway: GatewayFactory) -> None:
    free, locked = gateway(), gateway(Manners(key="another-key-of-theirs"))

    async def all_at_once() -> list[Any]:
        asked = [router(deployment(locked.base(), order=1), deployment(free.base(), order=2)) for _ in range(8)]
        return await asyncio.gather(*[each.acompletion("group", MESSAGES) for each in asked])

    for made in asyncio.run(all_at_once()):
        assert failures(made) == [(locked.base(), MODEL, "AuthenticationError")]


def test_what_a_caller_sends_as_json_is_no_trail(gateway: GatewayFactory) -> None:
    free = gateway()
    forged = {"trace_id": "a-session", "attempts": [{"api_base": "x", "model": "y", "error": "z", "reason": "w"}]}
    made = router(deployment(free.base())).completion(
        "group", MESSAGES, metadata={"gateway_attempts": forged}, litellm_trace_id="a-session"
    )
    assert failures(made) == []


def test_nothing_of_ours_is_in_the_body_of_a_later_attempt(spoken: Way, gateway: GatewayFactory) -> None:
    free = gateway()
    spoken.call(router(deployment(DEAD, order=1), deployment(free.base(), order=2)), "group", metadata={"mine": 1})
    assert set(free.seen[-1].body) <= {"model", "messages", "stream", "stream_options"}


# Loggers ----------------------------------------------------------------------------------------------------------


def test_a_logger_sees_who_answered_after_what(way: Way, gateway: GatewayFactory, log: Log) -> None:
    free = gateway()
    made = way.call(one_after_the_other(deployment(DEAD), deployment(free.base())), "group")
    drain()
    kwargs = log.calls[-1]
    report = kwargs["gateway"]
    assert report == told(made)
    assert kwargs["litellm_params"]["metadata"]["gateway"] == report
    payload = kwargs["standard_logging_object"]
    assert json.loads(json.dumps(payload["metadata"]))["spend_logs_metadata"]["gateway"] == report
    assert FAKE_KEY not in json.dumps({name: value for name, value in payload.items() if name != "response"})
    assert payload["api_base"].startswith(free.url)


def test_a_logger_keeps_what_the_caller_told_it(way: Way, gateway: GatewayFactory, log: Log) -> None:
    server = gateway()
    given = {"mine": 1, "spend_logs_metadata": {"theirs": 2}}
    way.call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY, metadata=given)
    drain()
    metadata = log.calls[-1]["litellm_params"]["metadata"]
    assert (metadata["mine"], metadata["spend_logs_metadata"]["theirs"]) == (1, 2)
    spent = log.calls[-1]["standard_logging_object"]["metadata"]["spend_logs_metadata"]
    assert spent == {"theirs": 2, "gateway": metadata["gateway"]}


def test_a_logger_of_failures_sees_the_attempts(way: Way, log: Log) -> None:
    with pytest.raises(litellm.APIConnectionError):
        way.call(litellm, f"gateway/{MODEL}", api_base=DEAD, api_key=FAKE_KEY, max_retries=0)
    drain()
    assert failures(log.failures[-1]["exception"]) == [(DEAD, MODEL, "APIConnectionError")]


# Headers ----------------------------------------------------------------------------------------------------------


def test_the_report_is_in_the_headers_that_the_proxy_hands_on(way: Way, gateway: GatewayFactory) -> None:
    free = gateway(Manners(headers={"x-trace": "abc"}))
    made = way.call(one_after_the_other(deployment(DEAD), deployment(free.base())), "group")
    held = way.chunks[0] if way.kind == "stream" and not way.awaited else made
    headers = held._hidden_params["additional_headers"]
    assert headers[f"{PREFIX}api-base"] == free.base()
    assert headers[f"{PREFIX}served-model"] == MODEL
    assert headers[f"{PREFIX}attempts"] == f"{DEAD} {MODEL} APIConnectionError"
    assert headers["llm_provider-x-trace"] == "abc"
    assert all(isinstance(value, str) for name, value in headers.items() if name.startswith(PREFIX))


@pytest.mark.parametrize("before", [PREFIX, PREFIX.upper(), f"llm_provider-{PREFIX}"])
def test_a_gateway_cannot_say_in_our_name_who_it_is(before: str, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(headers={f"{before}api-base": "http://fake", f"{before}attempts": "http://fake m E"}))
    made = door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert told(made)["api_base"] == server.base()
    assert told(made)["attempts"] == []
    headers = made._hidden_params["additional_headers"]
    ours = {name: value for name, value in headers.items() if name.startswith(PREFIX)}
    assert "http://fake" not in str(ours)


@pytest.mark.parametrize("before", [PREFIX, f"llm_provider-{PREFIX}"])
def test_a_gateway_cannot_forge_the_attempts_of_an_error(before: str, door: Door, gateway: GatewayFactory) -> None:
    fakes = ((f"{before}{name}", "http://fake m E") for name in ("attempts", "api-base"))
    said = (("content-type", "application/json"), *fakes)
    server = gateway(Manners(refusal=Answer(401, b'{"error": {"message": "no"}}', said)))
    with pytest.raises(litellm.AuthenticationError) as failed:
        door.chat(MODEL, api_base=server.base(), api_key=WRONG_KEY)
    assert failures(failed.value) == [(server.base(), MODEL, "AuthenticationError")]
    ours = {name: value for name, value in failed.value.litellm_response_headers.items() if name.startswith(PREFIX)}
    assert "fake" not in str(ours)


def proxied(logging_obj: Any) -> Any:
    """What the LiteLLM proxy gets when it asks a callback for response headers."""
    call = lgp.callback.async_post_call_response_headers_hook(
        data={"litellm_logging_obj": logging_obj},
        user_api_key_dict=object(),
        response=object(),
        request_headers={},
        litellm_call_info={},
    )
    return asyncio.run(call)


def test_the_proxy_is_told_on_every_surface(gateway: GatewayFactory, log: Log) -> None:
    server = gateway()
    made = Way(awaited=True, kind="chat").call(litellm, f"gateway/{MODEL}", api_base=server.base(), api_key=FAKE_KEY)
    assert proxied(SimpleNamespace(model_call_details=log.calls[-1])) == headers_of(told(made))


@pytest.mark.parametrize(
    "logging_obj", [None, object(), SimpleNamespace(model_call_details=None), SimpleNamespace(model_call_details={})]
)
def test_the_proxy_is_told_nothing_of_a_call_that_is_not_ours(logging_obj: Any) -> None:
    assert proxied(logging_obj) is None


@pytest.mark.parametrize(
    "model",
    ["Qwen/Qwen3", "a b; c", "50% off", "modèle/日本", "line\r\nx-evil: 1", " edge ", "\ud800", "x" * 5000, "é" * 900],
)
def test_a_header_is_printable_ascii_and_bounded(model: str) -> None:
    attempts = [{"api_base": DEAD, "model": model, "error": "Timeout", "reason": "secret words"}]
    for value in headers_of({"served_model": model, "requests": 3, "attempts": attempts}).values():
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()
        assert len(value) <= 1000
        assert "secret words" not in value


@pytest.mark.parametrize("model", ["Qwen/Qwen3", "a b; c", "50% off", "modèle/日本", " edge "])
def test_headers_are_read_back_as_they_were_written(model: str) -> None:
    attempts = [{"api_base": DEAD, "model": model, "error": "Timeout"}, {"api_base": "", "model": "m", "error": "E"}]
    report = {"api_base": DEAD, "served_model": model, "requests": 3, "waited_s": 0.25, "attempts": attempts}
    headers = {f"llm_provider-{name}": value for name, value in headers_of(report).items()}
    assert lgp.attribution(SimpleNamespace(_hidden_params={"additional_headers": headers})) == report


def test_a_long_list_of_attempts_is_counted_at_its_end() -> None:
    text = attempts_header([{"api_base": DEAD, "model": MODEL, "error": "RateLimitError"}] * 100)
    shown = text.split("; ")
    assert len(text) <= 1000
    assert len(shown) - 1 + int(shown[-1].removeprefix("+")) == 100


def test_numbers_that_are_none_are_given_as_they_are() -> None:
    headers = {f"llm_provider-{PREFIX}requests": "many"}
    found = lgp.attribution(SimpleNamespace(_hidden_params={"additional_headers": headers}))
    assert found == {"requests": "many", "attempts": []}


def test_a_trail_is_json() -> None:
    assert json.loads(json.dumps(Trail(trace_id="x", attempts=[]))) == {"trace_id": "x", "attempts": []}
