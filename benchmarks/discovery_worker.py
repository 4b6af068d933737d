"""What `discovery` measures, in processes of its own.

python -m benchmarks.discovery_worker serve BASES MODELS     bases that list as Chutes does; writes where they are
python -m benchmarks.discovery_worker survey                 a cold look at the environment's bases; waits for a line
python -m benchmarks.discovery_worker plain                  the floor, for the URLs of a line
python -m benchmarks.discovery_worker lookups ROUNDS         ids, ranks and reading, without a server
python -m benchmarks.discovery_worker memory rss|traced      what listings hold, and whether it grows

Whatever is told comes as one line of JSON; times are in seconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any

from .memory_worker import resident_mb
from .server import Requests, answer

if TYPE_CHECKING:
    from litellm_gateway_plugin.catalogue import Listing
    from litellm_gateway_plugin.choosing import Choice
    from litellm_gateway_plugin.handle import Gateway

BASES, MODELS, MANY = 20, 500, 20_000
PER_BASE, CANDIDATES = 2, 40
PROBE_S = 30.0
"""Long enough for a busy machine: what a survey costs is asked, not whether it is in time."""
BATCH_S, BATCHES = 0.02, 5
LOOKS = 20

FAMILIES = {
    "deepseek-ai": "DeepSeek-V3",
    "Qwen": "Qwen3",
    "zai-org": "GLM-4",
    "moonshotai": "Kimi-K2",
    "openai": "gpt-oss",
    "NousResearch": "Hermes-4",
    "unsloth": "gemma-3",
    "chutesai": "Mistral-Small",
}
FEATURES = (["json_mode", "tools", "structured_outputs", "reasoning"], ["json_mode", "structured_outputs"], ["tools"])
WINDOWS = (32_768, 131_072, 163_840, 262_144)
UTILIZATION_PATH = b"GET /chutes/utilization"


# What the gateways say. Nothing of it is measured.


def ids_of(number: int, count: int) -> list[str]:
    """Ids as vendors write them, other ones for each base."""
    vendors = list(FAMILIES.items())
    chosen = (vendors[place % len(vendors)] for place in range(count))
    return [f"{vendor}/{family}-{number:02}-{place}-Instruct" for place, (vendor, family) in enumerate(chosen)]


def listing_body(ids: Sequence[str], dearer: float = 0.0) -> Any:
    """In Chutes' dialect. No two models in a row say the same; `dearer` changes every price."""
    from litellm_gateway_plugin.testing import LISTINGS

    return LISTINGS["chutes"](ids, {name: _facts(place, dearer) for place, name in enumerate(ids)})


def _facts(place: int, dearer: float) -> dict[str, Any]:
    window = WINDOWS[place % len(WINDOWS)]
    money = {"input": 0.04 + place / 1000, "output": 0.2 + place / 250, "input_cache_read": 0.02 + place / 2000}
    usd = {kind: round(each + dearer, 6) for kind, each in money.items()}
    prompt, completion, cached = usd.values()
    return {
        "chute_id": f"00000000-0000-0000-0000-{place:012}",
        "price": {kind: {"tao": each / 400, "usd": each} for kind, each in usd.items()},
        "pricing": {"prompt": prompt, "completion": completion, "input_cache_read": cached},
        "max_model_len": window,
        "context_length": window,
        "max_output_length": window // 4,
        "input_modalities": ["text"] if place % 5 else ["text", "image"],
        "supported_features": FEATURES[place % len(FEATURES)],
        "confidential_compute": place % 2 == 0,
    }


def utilization_body(ids: Iterable[str]) -> list[dict[str, Any]]:
    """Chutes' page."""
    return [_utilization(place, name) for place, name in enumerate(ids)]


def _utilization(place: int, name: str) -> dict[str, Any]:
    busy = place % 97 / 97
    return {
        "chute_id": f"00000000-0000-0000-0000-{place:012}",
        "name": name,
        "timestamp": "2026-01-01T00:00:00",
        **{f"utilization_{window}": round(busy, 6) for window in ("current", "5m", "15m", "1h")},
        **{f"rate_limit_ratio_{window}": round(busy / 9, 6) for window in ("5m", "15m", "1h")},
        "total_instance_count": 1 + place % 9,
        "active_instance_count": 1 + place % 7,
        "scalable": True,
    }


# The gateways.


class Connection(Requests):
    """Every other answer to the question for models has other prices."""

    def __init__(self, listings: Iterable[bytes], utilization: bytes) -> None:
        super().__init__()
        self._listings, self._utilization = iter(listings), utilization

    def _serve(self, head: bytes, body: bytes) -> None:  # noqa: ARG002  there is none
        asks_for_load = head.startswith(UTILIZATION_PATH)
        self._transport.write(self._utilization if asks_for_load else next(self._listings))


async def serve(count: int, models: int) -> None:
    """Until the standard input ends. One port for each base, one that never answers, and one that nobody listens at."""
    loop = asyncio.get_running_loop()
    origins = [await _listen(_gateway(number, models)) for number in range(count)]
    silent = await _listen(asyncio.Protocol)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        print(json.dumps({"origins": origins, "silent": silent, "dead": dead}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


def _gateway(number: int, models: int) -> Callable[[], Connection]:
    ids = ids_of(number, models)
    listings = cycle([_served(listing_body(ids, dearer)) for dearer in (0.0, 0.5)])
    utilization = _served(utilization_body(ids))
    return lambda: Connection(listings, utilization)


def _served(body: Any) -> bytes:
    return answer("200 OK", json.dumps(body).encode())


async def _listen(protocol: Callable[[], asyncio.Protocol]) -> str:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# A look at all bases.


def timed(task: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """What a task takes, and what it returns."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = task()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}, found


def choice() -> Choice:
    """What `auto_router_from_env(max_bases=20)` makes its Router from."""
    from litellm_gateway_plugin import install
    from litellm_gateway_plugin.candidates import wanted
    from litellm_gateway_plugin.choosing import Choice
    from litellm_gateway_plugin.survey import labelled

    gateway = install()
    return Choice(gateway, labelled(gateway.settings.all_bases), wanted("text"), None, BASES, PER_BASE)


def survey() -> dict[str, Any]:
    """The first look, what is made of it, the next one, for which no listing has to be read, and one that reads all."""
    import litellm

    from litellm_gateway_plugin.auto_router import model_list

    made = choice()
    seconds = json.loads(sys.stdin.readline())["seconds"]
    first, findings = timed(lambda: made.survey(seconds, anew=True).wait())
    planning, plan = timed(lambda: made.plan(findings))
    routing, _ = timed(lambda: litellm.Router(model_list=model_list(plan, "text")))
    later, found = timed(lambda: made.survey(seconds, anew=False).wait())
    ordering, _ = timed(lambda: made.again(found, plan.ranked))
    begun, anew = timed(lambda: made.survey(seconds, anew=True))
    ended, _ = timed(anew.wait)
    warm = {unit: begun[unit] + ended[unit] for unit in begun}
    steps = {"survey": first, "plan": planning, "router": routing, "later": later, "again": ordering}
    steps |= {"warm": warm, "begun": begun}
    listed = [each.listing for each in findings if each.listing is not None]
    loads = sum(len(each.loads or ()) for each in findings)
    return {**steps, "alive": len(listed), "models": sum(map(len, listed)), "loads": loads}


def plain() -> dict[str, Any]:
    """The floor: the same requests, a thread each, and nothing done with the answers but to parse them."""
    import httpx

    urls = json.loads(sys.stdin.readline())["urls"]

    def fetched() -> list[Any]:
        with httpx.Client() as client, ThreadPoolExecutor(len(urls)) as threads:
            return list(threads.map(lambda url: json.loads(client.get(url).content), urls))

    return timed(fetched)[0]


# What happens within a process.


def lookups(rounds: int) -> dict[str, float]:
    """Seconds for each, by name."""
    tasks = {**_resolutions(), **_calls(), **_rankings(), **_readings()}
    return {name: _each(task, rounds) for name, task in tasks.items()}


def _each(task: Callable[[], Any], rounds: int) -> float:
    """Seconds for one of many."""
    count = 1
    while timed(lambda: _repeat(task, count))[0]["wall"] < BATCH_S:  # noqa: B023  called at once
        count *= 2
    return median(timed(lambda: _repeat(task, count))[0]["wall"] / count for _ in range(max(rounds, BATCHES)))


def _repeat(task: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        task()


def asked_for(ids: Sequence[str]) -> dict[str, str]:
    """The ways to ask for a model that is listed last, or not at all."""
    last = ids[-1]
    return {
        "exact": last,
        "another case": last.swapcase(),
        "without its prefix": last.partition("/")[2],
        "unknown": "nobody/has-this-model",
    }


def walk(asked: str, listing: Sequence[str]) -> str | None:
    """The naive way to the same answer."""
    wanted = asked.lower()
    rules: tuple[Callable[[str], bool], ...] = (
        lambda name: name == asked,
        lambda name: name.lower() == wanted,
        lambda name: name.lower().endswith("/" + wanted) or wanted.endswith("/" + name.lower()),
    )
    found = next(filter(None, ([name for name in listing if rule(name)] for rule in rules)), [])
    return found[0] if len(found) == 1 else None


def _resolutions() -> dict[str, Callable[[], Any]]:
    from litellm_gateway_plugin.catalogue import Ids, equal_id

    tasks: dict[str, Callable[[], Any]] = {}
    for count in (MODELS, MANY):
        ids = ids_of(0, count)
        known = Ids(ids)
        for way, asked in asked_for(ids).items():
            assert equal_id(asked, known) == walk(asked, ids)
            tasks[f"{count} ids: {way}"] = lambda asked=asked, known=known: equal_id(asked, known)  # type: ignore[misc]
            tasks[f"{count} walked: {way}"] = lambda asked=asked, ids=ids: walk(asked, ids)  # type: ignore[misc]
        tasks[f"{count} ids: first alias"] = lambda ids=ids: equal_id("x/y", Ids(ids))  # type: ignore[misc]
    return tasks


def _calls() -> dict[str, Callable[[], Any]]:
    gateway, bases = _gateway_with_listings()
    ways = asked_for(ids_of(BASES - 1, MODELS))

    def ask(model: str, api_base: str | None) -> Any:
        return gateway.ask(surface="chat/completions", model=model, api_base=api_base, api_key=None, headers={})[0]

    assert all(str(ask(model, None).base) == bases[0 if way == "unknown" else -1] for way, model in ways.items())
    tasks: dict[str, Callable[[], Any]] = {
        f"ask: {way}": lambda model=model: ask(model, None)  # type: ignore[misc]
        for way, model in ways.items()
    }
    return {**tasks, "ask: api_base given": lambda: ask(ways["exact"], bases[-1])}


def _gateway_with_listings() -> tuple[Gateway, list[str]]:
    """Twenty bases of the environment's kind, of which everything is known."""
    from pydantic import SecretStr

    from litellm_gateway_plugin import install
    from litellm_gateway_plugin.settings import GatewayBase

    bases = [f"https://llm-{number:02}.example.com/v1" for number in range(BASES)]
    configured = tuple(GatewayBase(api_base=base, api_key=SecretStr(f"key-{base}")) for base in bases)
    gateway = install(bases=configured, cache=False)
    for number, base in enumerate(bases):
        gateway.listings.learn(gateway.listing_ask(base), read(listing_body(ids_of(number, MODELS))))
    return gateway, bases


def read(body: Any) -> Listing:
    from litellm_gateway_plugin.dialects import read_listing

    listing = read_listing(body)
    assert listing is not None
    return listing


def _rankings() -> dict[str, Callable[[], Any]]:
    from litellm_gateway_plugin.candidates import candidates_of, wanted
    from litellm_gateway_plugin.ranking import best_of_base, rank
    from litellm_gateway_plugin.utilization import read_utilization

    ids = ids_of(0, MODELS)
    listing = read(listing_body(ids))
    loads = read_utilization(utilization_body(ids)) or {}
    others = read_utilization(utilization_body(ids_of(1, MODELS))) or {}
    every = list(candidates_of("base", 0, listing, wanted("text"), None, loads))
    few = every[:CANDIDATES]
    names = [each.name for each in rank(few)]
    return {
        "rank": lambda: rank(few),
        "rank again": lambda: rank(few, names),
        "best of base": lambda: best_of_base(every, PER_BASE),
        "candidates": lambda: list(candidates_of("base", 0, listing, wanted("text"), None, loads)),
        "candidates, loads of others": lambda: list(candidates_of("base", 0, listing, wanted("text"), None, others)),
    }


def _readings() -> dict[str, Callable[[], Any]]:
    from litellm_gateway_plugin.dialects import unpack
    from litellm_gateway_plugin.utilization import read_utilization

    bodies = {count: listing_body(ids_of(0, count)) for count in (MODELS, 10 * MODELS)}
    texts = {count: json.dumps(body) for count, body in bodies.items()}
    page = json.dumps(utilization_body(ids_of(0, MODELS)))
    packed = read(bodies[MODELS]).packed
    reads: dict[str, Callable[[], Any]] = {
        f"read {count}": lambda body=body: read(body)  # type: ignore[misc]
        for count, body in bodies.items()
    }
    parses: dict[str, Callable[[], Any]] = {
        f"json {count}": lambda text=text: json.loads(text)  # type: ignore[misc]
        for count, text in texts.items()
    }
    told = json.loads(page)
    pages = {"read loads": lambda: read_utilization(told), "json loads": lambda: json.loads(page)}
    return {**reads, **parses, **pages, "unpack": lambda: unpack(packed)}


# What is held.


def memory(kind: str) -> dict[str, float]:
    """MB after one look at the bases, and what more there is after further ones, each with other prices."""
    made = choice()
    first = dict(list(made.bases.items())[:1])
    look(made, first)  # what the first request brings: modules, certificates
    if kind == "traced":
        tracemalloc.start()
    before = held()
    look(made, made.bases)
    once = held()
    report = {"once_bytes": (once["mb"] - before["mb"]) * 2**20 / ((BASES - 1) * MODELS)}
    if kind == "traced":
        return report
    look(made, made.bases)  # litellm makes an index of its map when it is asked for the first time after a change
    settled = held()
    for _ in range(LOOKS):
        look(made, made.bases)
    last = held()
    return {
        **report,
        "grown_mb": last["mb"] - settled["mb"],
        "grown_blocks": last["blocks"] - settled["blocks"],
    }


def look(made: Choice, bases: Mapping[str, Any]) -> None:
    from litellm_gateway_plugin.survey import Survey

    findings = Survey(made.gateway, bases, PROBE_S, anew=True).wait()
    assert not any(found.dead for found in findings), [found.dead for found in findings]


def held() -> dict[str, float]:
    gc.collect()
    mb = tracemalloc.get_traced_memory()[0] / 2**20 if tracemalloc.is_tracing() else resident_mb()
    return {"mb": mb, "blocks": sys.getallocatedblocks()}


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(*map(int, rest)))
        return
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    tasks: dict[str, Callable[[], Mapping[str, Any]]] = {
        "survey": survey,
        "plain": plain,
        "lookups": lambda: lookups(int(rest[0])),
        "memory": lambda: memory(rest[0]),
    }
    print(json.dumps(tasks[what]()), file=replies, flush=True)


if __name__ == "__main__":
    main()
