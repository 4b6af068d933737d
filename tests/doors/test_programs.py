"""Programs as people write them: what they replace, keep, set in code and pass by position, with stock litellm."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import ALL_DOORS, Door

MODEL = "Qwen/Qwen3-32B"
MESSAGES = [{"role": "user", "content": "hello"}]
PICKY = Manners(styles={"*": ("x-api-key",), "models": ("none",)}, models=(MODEL, "clever-mini"))
COLD = ["bearer", "bearer", "x-api-key"]  # the base without its /v1, the refused Bearer, the right header
WARM = ["x-api-key"]
STRAY = "sk-of-the-whole-process"
Call = Callable[..., Any]
SOUND = ("voice.wav", b"RIFF....WAVE", "audio/wav")

# Taken before install(), as every library does that says `from litellm import completion`.
completion, acompletion = litellm.completion, litellm.acompletion
embedding, aembedding = litellm.embedding, litellm.aembedding

SET_IN_CODE = ("api_base", "api_key", "openai_key", "drop_params", "num_retries")
CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


@pytest.fixture
def picky(gateway: GatewayFactory) -> PickyGateway:
    return gateway(PICKY)


@pytest.fixture(autouse=True)
def litellm_as_it_was(plugin: object) -> Iterator[None]:
    """What a program of these tests sets in litellm is gone after it."""
    values = {name: getattr(litellm, name) for name in SET_IN_CODE}
    lists = {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS}
    yield
    for name, value in values.items():
        setattr(litellm, name, value)
    for name, entries in lists.items():
        setattr(litellm, name, entries)


def named(picky: PickyGateway) -> dict[str, Any]:
    """Base and key of a call, the base as people paste it: without its /v1."""
    return {"api_base": picky.url, "api_key": FAKE_KEY}


def said(response: Any) -> str:
    return str(response.choices[0].message.content)


def streamed(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def collected(*arguments: Any, **options: Any) -> str:
    return streamed([chunk async for chunk in await acompletion(*arguments, **options)])


# Programs that replace what was registered ----------------------------------------------------------------------------


@pytest.mark.parametrize("replace", ["assign", "clear"])
def test_callbacks_are_put_back_after_a_program_has_replaced_them(
    replace: str, door: Door, picky: PickyGateway
) -> None:
    door.chat(MODEL, **named(picky))
    for _ in range(2):
        picky.clear()
        if replace == "assign":
            litellm.callbacks = []
        else:
            litellm.callbacks.clear()
        door.chat(MODEL, **named(picky))
        assert picky.styles("chat") == WARM


def test_an_async_call_after_callbacks_were_replaced_by_somebody_elses(picky: PickyGateway) -> None:
    class Theirs(CustomLogger):
        seen = 0

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            Theirs.seen += said(response_obj) == "echo: theirs"

    theirs = Theirs()
    litellm.completion(f"gateway/{MODEL}", MESSAGES, **named(picky))
    litellm.callbacks = [theirs]

    async def two_calls() -> None:
        theirs = [{"role": "user", "content": "theirs"}]
        await acompletion(f"gateway/{MODEL}", theirs, **named(picky))  # this door does not need the callback
        await acompletion(model=f"openai/{MODEL}", messages=theirs, **named(picky))  # this one does
        for _ in range(100):
            if Theirs.seen == 2:
                return
            await asyncio.sleep(0.01)

    asyncio.run(two_calls())
    assert theirs in litellm.callbacks
    assert lgp.callback in litellm.callbacks
    assert Theirs.seen == 2
    assert picky.styles("chat") == [*COLD, *WARM, *WARM]


def test_custom_providers_are_put_back_after_a_program_has_replaced_them(picky: PickyGateway) -> None:
    class Theirs(litellm.CustomLLM):
        pass

    theirs: Any = {"provider": "their-own", "custom_handler": Theirs()}
    litellm.custom_provider_map = [theirs]
    try:
        litellm.completion(f"openai/{MODEL}", MESSAGES, **named(picky))  # any door that is still hit repairs
        assert said(litellm.completion(f"gateway/{MODEL}", MESSAGES, **named(picky))) == "echo: hello"
        assert theirs in litellm.custom_provider_map
    finally:
        litellm.custom_provider_map.remove(theirs)


@pytest.mark.parametrize("prefix", ["gateway/", "openai/"])
def test_a_callback_function_that_is_named_late_is_heard(prefix: str, picky: PickyGateway) -> None:
    """litellm sets up the callbacks of the first call that has any: the plugin's own must not be taken for them."""
    litellm.utils.callback_list = []
    heard: list[str] = []

    def heard_it(kwargs: Any, response: Any, start: Any, end: Any) -> None:
        heard.append(said(response))

    completion(prefix + MODEL, MESSAGES, **named(picky))
    litellm.success_callback = [heard_it]
    completion(prefix + MODEL, MESSAGES, **named(picky))
    pause = threading.Event()
    for _ in range(100):
        if heard:
            break
        pause.wait(0.02)
    lgp.uninstall()
    assert "echo: hello" in heard
    assert heard_it in litellm.success_callback


# Programs that write a call in their own way --------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["api_base", "base_url"])
def test_both_spellings_of_the_base(spelling: str, door: Door, picky: PickyGateway) -> None:
    response = door.chat(MODEL, **{spelling: picky.url}, api_key=FAKE_KEY)
    assert said(response) == "echo: hello"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("prefix", ["gateway/", "openai_like/", "openai/", "custom_openai/", ""])
def test_model_and_messages_by_position(prefix: str, picky: PickyGateway) -> None:
    assert said(completion(prefix + MODEL, MESSAGES, **named(picky))) == "echo: hello"
    assert said(asyncio.run(acompletion(prefix + MODEL, MESSAGES, **named(picky)))) == "echo: hello"
    assert picky.styles("chat") == [*COLD, *WARM]
    assert {seen.model for seen in picky.requests("chat")} == {MODEL}
    assert picky.requests("models") == []


def by_position(function: Call, **given: Any) -> list[Any]:
    """The arguments of a call that names nothing: every parameter up to the last given one, in order."""
    values = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    names = list(values)
    last = max(names.index(name) for name in given)
    return [{**values, **given}[name] for name in names[: last + 1]]


@pytest.mark.parametrize("prefix", ["gateway/", "openai_like/", "openai/", "custom_openai/", ""])
def test_streams_with_everything_by_position(prefix: str, picky: PickyGateway) -> None:
    given = {"model": prefix + MODEL, "messages": MESSAGES, "stream": True}
    assert streamed(completion(*by_position(completion, **given), **named(picky))) == "echo: hello"
    assert asyncio.run(collected(*by_position(acompletion, **given), **named(picky))) == "echo: hello"
    assert picky.styles("chat") == [*COLD, *WARM]
    assert [seen.body["stream"] for seen in picky.served] == [True, True]
    assert {seen.model for seen in picky.requests("chat")} == {MODEL}


@pytest.mark.parametrize("prefix", ["gateway/", "openai/", ""])
def test_embeddings_by_position(prefix: str, picky: PickyGateway) -> None:
    assert len(embedding(prefix + MODEL, ["a", "b"], **named(picky)).data) == 2
    assert len(asyncio.run(aembedding(prefix + MODEL, ["a", "b"], **named(picky))).data) == 2
    assert picky.styles("embeddings") == [*COLD, *WARM]


@pytest.mark.parametrize("prefix", ["gateway/", "openai/", "openai_like/"])
def test_an_id_without_a_vendor(prefix: str, picky: PickyGateway) -> None:
    completion(prefix + "clever-mini", MESSAGES, **named(picky))
    asyncio.run(acompletion(prefix + "clever-mini", MESSAGES, **named(picky)))
    assert picky.styles("chat") == [*COLD, *WARM]
    assert {seen.model for seen in picky.requests("chat")} == {"clever-mini"}


@pytest.mark.parametrize("provider", ["gateway", "openai_like", "openai"])
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_the_provider_beside_the_id(provider: str, awaited: bool, picky: PickyGateway) -> None:
    options = {"custom_llm_provider": provider, **named(picky)}
    if awaited:
        asyncio.run(acompletion(model=MODEL, messages=MESSAGES, **options))
    else:
        completion(model=MODEL, messages=MESSAGES, **options)
    assert picky.styles("chat") == COLD
    assert {seen.model for seen in picky.requests("chat")} == {MODEL}


def test_references_from_before_install(door: Door, picky: PickyGateway) -> None:
    assert litellm.completion is completion
    assert litellm.acompletion is acompletion
    door.chat(MODEL, **named(picky))
    assert picky.styles("chat") == COLD


# Programs that set things for the whole process -----------------------------------------------------------------------


NO_OPENAI_NAME = [door for door in ALL_DOORS if door.prefix in ("gateway/", "openai_like/", "")]


@pytest.mark.parametrize("door", NO_OPENAI_NAME, ids=str)
def test_base_and_key_set_in_code(door: Door, picky: PickyGateway) -> None:
    litellm.api_base, litellm.api_key = picky.url, FAKE_KEY
    assert said(door.chat(MODEL)) == "echo: hello"
    assert picky.styles("chat") == COLD


def test_base_and_key_set_in_code_for_openai_calls(picky: PickyGateway) -> None:
    litellm.api_base, litellm.api_key = picky.url, FAKE_KEY
    assert said(completion(f"openai/{MODEL}", MESSAGES)) == "echo: hello"
    assert said(asyncio.run(acompletion(f"openai/{MODEL}", MESSAGES))) == "echo: hello"
    assert picky.styles("chat") == [*COLD, *WARM]


def test_a_key_set_in_code_stays_with_its_base(gateway: GatewayFactory, picky: PickyGateway) -> None:
    other = gateway(Manners(styles={"*": ("bearer", "x-api-key", "raw")}, models=(MODEL,)))
    litellm.api_base, litellm.api_key = picky.url, FAKE_KEY
    for prefix in ("gateway/", "openai/"):
        with pytest.raises(litellm.AuthenticationError):
            completion(prefix + MODEL, MESSAGES, api_base=other.base(), max_retries=0)
        with pytest.raises(litellm.AuthenticationError):
            asyncio.run(acompletion(prefix + MODEL, MESSAGES, api_base=other.base(), max_retries=0))
    assert {seen.credential_headers for seen in other.seen} == {()}


def test_drop_params_and_retries_set_for_the_process(door: Door, picky: PickyGateway) -> None:
    litellm.drop_params, litellm.num_retries = True, 2
    door.chat(MODEL, temperature=0.5, response_format={"type": "json_object"}, **named(picky))
    assert picky.styles("chat") == COLD
    assert picky.served[0].body["response_format"] == {"type": "json_object"}
    assert picky.served[0].body["temperature"] == 0.5


# A key of the whole process and a foreign base ------------------------------------------------------------------------


async def _astream(model: str, **options: Any) -> None:
    async for _ in await acompletion(model=model, messages=MESSAGES, stream=True, **options):
        pass


def _awaited(function: Call) -> Call:
    return lambda **options: asyncio.run(function(**options))


CALLS: dict[str, Call] = {
    "chat": lambda **o: litellm.completion(messages=MESSAGES, **o),
    "achat": _awaited(lambda **o: litellm.acompletion(messages=MESSAGES, **o)),
    "stream": lambda **o: list(litellm.completion(messages=MESSAGES, stream=True, **o)),
    "astream": _awaited(_astream),
    "embeddings": lambda **o: litellm.embedding(input=["x"], **o),
    "aembeddings": _awaited(lambda **o: litellm.aembedding(input=["x"], **o)),
    "text": lambda **o: litellm.text_completion(prompt="x", **o),
    "atext": _awaited(lambda **o: litellm.atext_completion(prompt="x", **o)),
    "responses": lambda **o: litellm.responses(input="x", **o),
    "aresponses": _awaited(lambda **o: litellm.aresponses(input="x", **o)),
    "messages": lambda **o: litellm.anthropic.messages.create(messages=MESSAGES, max_tokens=9, **o),
    "amessages": _awaited(lambda **o: litellm.anthropic.messages.acreate(messages=MESSAGES, max_tokens=9, **o)),
}
OF_THE_OPENAI_CLIENT: dict[str, Call] = {
    "transcription": lambda **o: litellm.transcription(file=SOUND, **o),
    "atranscription": _awaited(lambda **o: litellm.atranscription(file=SOUND, **o)),
    "speech": lambda **o: litellm.speech(input="x", voice="a", **o),
    "aspeech": _awaited(lambda **o: litellm.aspeech(input="x", voice="a", **o)),
    "image": lambda **o: litellm.image_generation(prompt="x", **o),
    "aimage": _awaited(lambda **o: litellm.aimage_generation(prompt="x", **o)),
}
WAYS = [
    *[(prefix, name) for prefix in ("gateway/", "openai/", "openai_like/", "") for name in CALLS],
    *[("openai/", name) for name in OF_THE_OPENAI_CLIENT],
]


@pytest.fixture
def stray(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """OPENAI_API_KEY is set, as it is on most machines."""
    isolated_environment.setenv("OPENAI_API_KEY", STRAY)
    return isolated_environment


@pytest.fixture
def litellms_own_clients() -> Iterator[None]:
    """litellm never closes the HTTP clients under its sync `responses` and `anthropic.messages`: drop them here."""
    yield
    cache: Any = litellm.in_memory_llm_clients_cache
    cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("litellms_own_clients")
@pytest.mark.parametrize(("prefix", "name"), WAYS)
def test_the_openai_key_reaches_no_foreign_base(
    prefix: str, name: str, stray: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    everything = ("bearer", "x-api-key", "raw", "api-key")
    server = gateway(Manners(key=STRAY, styles={"*": everything}, models=(MODEL,), absent=()))
    call = {**CALLS, **OF_THE_OPENAI_CLIENT}[name]
    with pytest.raises(Exception) as caught:  # which one is litellm's affair
        call(model=prefix + MODEL, api_base=server.base(), max_retries=0)
    assert [seen for seen in server.seen if seen.key_ok or seen.credential_headers] == []
    assert server.seen or "key" in str(caught.value).lower()  # litellm itself may miss a key before anything is sent
    assert STRAY not in str(caught.value)


READ_THE_ENVIRONMENT = ["chat", "achat", "stream", "astream", "embeddings", "aembeddings", "text", "atext", "speech"]


@pytest.mark.parametrize("name", READ_THE_ENVIRONMENT)
@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_the_openai_key_reaches_the_base_it_was_set_with(
    name: str, variable: str, stray: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    server = gateway(Manners(key=STRAY, models=(MODEL,)))
    stray.setenv(variable, server.base())
    {**CALLS, **OF_THE_OPENAI_CLIENT}[name](model=f"openai/{MODEL}", max_retries=0)
    assert server.served
    assert {seen.style for seen in server.seen} == {"bearer"}


def test_the_openai_key_reaches_a_named_base_that_the_environment_names_too(
    stray: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    server = gateway(Manners(key=STRAY, models=(MODEL,)))
    stray.setenv("OPENAI_BASE_URL", server.base())
    completion(f"openai/{MODEL}", MESSAGES, api_base=server.base())
    assert server.styles("chat") == ["bearer"]


def test_a_gateways_key_goes_in_place_of_the_openai_key(stray: pytest.MonkeyPatch, picky: PickyGateway) -> None:
    lgp.install(api_base=picky.url, api_key=FAKE_KEY)
    for prefix in ("openai/", "gateway/"):
        completion(prefix + MODEL, MESSAGES, api_base=picky.url)
        asyncio.run(acompletion(prefix + MODEL, MESSAGES, api_base=picky.url))
    assert {seen.key_ok for seen in picky.seen} == {True}


# Sessions of the program's own ----------------------------------------------------------------------------------------


def test_a_session_of_the_programs_own_stays(picky: PickyGateway) -> None:
    lgp.uninstall()
    theirs: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        theirs.append(request.url.path)
        return httpx.Response(200, json={**CHAT_ANSWER})

    with httpx.Client(transport=httpx.MockTransport(answer)) as session:
        litellm.client_session = session
        lgp.install()
        assert litellm.client_session is session
        completion(f"gateway/{MODEL}", MESSAGES, **named(picky))
        assert theirs == []
        assert said(completion(f"openai/{MODEL}", MESSAGES, **named(picky))) == "from their session"
        assert theirs == ["/chat/completions"]
        lgp.uninstall()
        assert litellm.client_session is session
        assert not session.is_closed
        litellm.client_session = None


CHAT_ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "from their session"}}
    ],
}


# The public names -----------------------------------------------------------------------------------------------------


def test_the_public_names_are_instances_and_not_modules() -> None:
    for _ in range(2):  # the first look imports the modules of the same names
        assert isinstance(lgp.callback, CustomLogger)
        assert isinstance(lgp.provider, litellm.CustomLLM)


@pytest.mark.parametrize("name", ["callback", "provider"])
def test_naming_them_installs(name: str) -> None:
    lgp.uninstall()
    assert "gateway" not in litellm.provider_list
    getattr(lgp, name)
    assert "gateway" in litellm.provider_list
    assert lgp.callback in litellm.callbacks


# install() and uninstall() --------------------------------------------------------------------------------------------


def litellm_now() -> dict[str, Any]:
    """Every public and private name of the litellm module with its value; containers as copies."""
    plain = (str, int, float, bool, type(None))
    now: dict[str, Any] = {}
    for name in dir(litellm):
        value = getattr(litellm, name, None)
        if isinstance(value, (list, set, dict)):
            now[name] = copy.copy(value)
        elif isinstance(value, plain):
            now[name] = value
        else:
            now[name] = id(value)
    return now


OF_LITELLM = {"_async_client_cleanup_registered", "error_logs"}  # its first asynchronous client; its own notes


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    names = before.keys() | after.keys()
    return {name for name in names if before.get(name, after) != after.get(name, before)} - OF_LITELLM


def test_uninstall_restores_every_global(picky: PickyGateway) -> None:
    lgp.uninstall()
    litellm_now()  # some names of litellm are made when they are first looked at
    before = litellm_now()

    lgp.install()
    completion(f"gateway/{MODEL}", MESSAGES, **named(picky))
    completion(f"openai/{MODEL}", MESSAGES, **named(picky))
    asyncio.run(acompletion(f"openai/{MODEL}", MESSAGES, **named(picky)))
    lgp.uninstall()

    assert changed(before, litellm_now()) == set()
    cached = litellm.in_memory_llm_clients_cache.cache_dict
    assert [key for key in cached if "openai" in str(key).lower()] == []


def test_install_changes_these_globals_and_no_others() -> None:
    lgp.uninstall()
    litellm_now()
    before = litellm_now()
    lgp.install()
    after = litellm_now()
    assert changed(before, after) <= {
        "_custom_providers",
        "aclient_session",
        "callbacks",
        "client_session",
        "custom_provider_map",
        "provider_list",
    }
    assert after.keys() == before.keys()  # aider refuses to start when it finds error classes that it does not know


def test_after_uninstall_litellm_is_stock_again(picky: PickyGateway) -> None:
    completion(f"openai/{MODEL}", MESSAGES, **named(picky))
    lgp.uninstall()
    picky.clear()
    with pytest.raises(litellm.NotFoundError):
        completion(f"openai/{MODEL}", MESSAGES, max_retries=0, **named(picky))
    assert [(seen.style, seen.path) for seen in picky.seen] == [("bearer", "/chat/completions")]
    for prefix in ("gateway/", ""):
        with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
            completion(prefix + MODEL, MESSAGES, **named(picky))
        with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
            asyncio.run(acompletion(prefix + MODEL, MESSAGES, **named(picky)))
    assert len(picky.seen) == 1


def test_a_handler_that_was_kept_says_that_the_plugin_is_gone(picky: PickyGateway) -> None:
    handler = lgp.provider
    lgp.uninstall()
    litellm.custom_provider_map.append({"provider": "kept", "custom_handler": handler})
    litellm.provider_list.append("kept")
    litellm._custom_providers.append("kept")
    try:
        with pytest.raises(litellm.BadRequestError, match=r"call install\(\) first"):
            completion(f"kept/{MODEL}", MESSAGES, **named(picky))
    finally:
        litellm.custom_provider_map.pop()
        litellm.provider_list.remove("kept")
        litellm._custom_providers.remove("kept")


def test_install_twice_is_once(picky: PickyGateway) -> None:
    first = lgp.install()
    assert lgp.install() is first
    assert litellm.callbacks.count(lgp.callback) == 1
    providers = [entry["provider"] for entry in litellm.custom_provider_map]
    assert len(providers) == len(set(providers))
    assert sum(name == "gateway" for name in litellm.provider_list) == 1
    completion(f"gateway/{MODEL}", MESSAGES, **named(picky))
    assert picky.styles("chat") == COLD


def test_new_settings_replace_the_installation(gateway: GatewayFactory, picky: PickyGateway) -> None:
    other = gateway(PICKY)
    first = lgp.install(api_base=picky.url, api_key=FAKE_KEY)
    callback = lgp.callback
    completion(f"gateway/{MODEL}", MESSAGES)
    second = lgp.install(api_base=other.url, api_key=FAKE_KEY, negotiate=True)
    assert second is not first
    assert lgp.callback is callback
    completion(f"gateway/{MODEL}", MESSAGES)
    asyncio.run(acompletion(MODEL, MESSAGES))
    assert litellm.callbacks.count(callback) == 1
    assert (len(picky.requests("chat", verdict="served")), len(other.requests("chat", verdict="served"))) == (1, 2)


def test_settings_that_cannot_be_used_leave_the_installation_alone(picky: PickyGateway) -> None:
    first = lgp.install(api_base=picky.url, api_key=FAKE_KEY)
    with pytest.raises(Exception, match="intercept"):
        lgp.install(intercept="sometimes")
    assert lgp.install() is first
    completion(f"gateway/{MODEL}", MESSAGES)
    assert picky.styles("chat") == COLD


def test_many_threads_install_at_once(picky: PickyGateway) -> None:
    lgp.uninstall()
    before = len(litellm.callbacks), len(litellm.custom_provider_map)
    barrier = threading.Barrier(8)
    handles: list[Any] = []

    def program() -> None:
        barrier.wait()
        handles.append(lgp.install())
        completion(f"gateway/{MODEL}", MESSAGES, **named(picky))

    threads = [threading.Thread(target=program) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(handles) == 8
    assert len({id(handle) for handle in handles}) == 1
    assert litellm.callbacks.count(lgp.callback) == 1
    assert picky.styles("chat")[:3] == COLD
    assert len(picky.refused) == 1
    assert len(picky.served) == 8
    lgp.uninstall()
    assert (len(litellm.callbacks), len(litellm.custom_provider_map)) == before


def test_uninstall_while_calls_are_made(picky: PickyGateway) -> None:
    """A call that meets the moment of the removal ends in one of litellm's errors, and never hangs."""
    ends: list[str] = []

    def program() -> None:
        for _ in range(20):
            try:
                ends.append(said(completion(f"gateway/{MODEL}", MESSAGES, num_retries=0, **named(picky))))
            except (litellm.BadRequestError, litellm.APIConnectionError, litellm.ServiceUnavailableError) as error:
                ends.append(type(error).__name__)

    threads = [threading.Thread(target=program) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        lgp.uninstall()
        lgp.install()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert len(ends) == 80
    assert said(completion(f"gateway/{MODEL}", MESSAGES, **named(picky))) == "echo: hello"


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop without leaving litellm's logging worker behind in it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_a_loop_that_has_closed_its_generators_runs_on(picky: PickyGateway) -> None:
    """As the OpenAI Agents SDK does after each `run_sync`: the same loop, its generators closed in between."""
    loop = asyncio.new_event_loop()
    try:
        for _ in range(3):
            loop.run_until_complete(acompletion(f"gateway/{MODEL}", MESSAGES, **named(picky)))
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        end(loop)
    assert picky.styles("chat") == [*COLD, *WARM, *WARM]


# The other two lines that install -------------------------------------------------------------------------------------

NAMED_CALLBACK = """
import litellm, litellm_gateway_plugin
litellm.callbacks = [litellm_gateway_plugin.callback]
"""
NAMED_PROVIDER = """
import litellm, litellm_gateway_plugin
litellm.custom_provider_map = [{"provider": "acme", "custom_handler": litellm_gateway_plugin.provider}]
"""
A_CALL = """
import asyncio, os
base, model = os.environ["BASE"], os.environ["MODEL"]
said = [{"role": "user", "content": "hello"}]
options = {"api_base": base, "api_key": os.environ["KEY"]}
print(litellm.completion(prefix + model, said, **options).choices[0].message.content)
print(asyncio.run(litellm.acompletion(model=prefix + model, messages=said, **options)).choices[0].message.content)
"""


def run_program(source: str, picky: PickyGateway) -> list[str]:
    """Run a program in an interpreter of its own; what it printed, line by line."""
    named_there = {"BASE": picky.url, "KEY": FAKE_KEY, "MODEL": MODEL, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {**os.environ, **named_there}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["gateway/", "openai/", ""])
def test_the_callbacks_setting_alone_installs(prefix: str, picky: PickyGateway) -> None:
    assert run_program(f"{NAMED_CALLBACK}\nprefix = {prefix!r}\n{A_CALL}", picky) == ["echo: hello"] * 2
    assert picky.styles("chat") == [*COLD, *WARM]


@pytest.mark.slow
def test_a_provider_name_of_ones_own(picky: PickyGateway) -> None:
    assert run_program(f"{NAMED_PROVIDER}\nprefix = 'acme/'\n{A_CALL}", picky) == ["echo: hello"] * 2
    assert picky.styles("chat") == [*COLD, *WARM]
    assert {seen.model for seen in picky.requests("chat")} == {MODEL}
