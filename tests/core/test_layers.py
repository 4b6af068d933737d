"""The layers, read from the import statements: each imports only what stands above it in the table."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import litellm_gateway_plugin

PACKAGE = Path(litellm_gateway_plugin.__file__).parent
VALUES = {"errors", "printable", "urls", "wire.values", "version", "recent", "forking"}
PARSED = {"dialects"}
DECISIONS = {
    "answers", "credentials", "capacity", "verdicts", "catalogue", "bodies", "eventstream", "streams", "plan",
    "refusals", "negotiation", "throttle", "shared_throttle", "utilization", "ranking", "candidates",
}  # fmt: skip
STATE = {"memory", "guesses", "listings", "settings", "gate"}
SHARED = {"sharing", "shared_listings"}
SEAM = {"hookspecs", "manners", "plugins"}
BRIDGE = {"exchange", "admission", "engine", "discovery", "bases", "handle", "survey", "choosing"}
TOP = {
    "custom_llm",
    "deployment_hook",
    "proxy_calls",
    "sessions",
    "installation",
    "litellm_errors",
    "attributions",
    "calls",
    "cost_map",
    "doors",
    "model_lists",
    "auto_router",
    "race",
    "routers",
    "routing",
}
DOCTOR = {"doctor.checks", "doctor.host", "doctor.loopback", "doctor.selftest"}
NETWORK = {"httpx", "httpx2", "httpcore", "aiohttp", "requests", "urllib3", "socket", "ssl"}
OURS = "litellm_gateway_plugin"


def source(name: str) -> Path:
    return PACKAGE / (name.replace(".", "/") + ".py")


def tree(name: str) -> ast.Module:
    return ast.parse(source(name).read_text("utf-8"))


def imported(name: str) -> Iterator[str]:
    """Every module that a module imports, anywhere in it; ours without the package's name."""
    package = name.split(".")[:-1]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix(OURS + ".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            yield from (_ours(above, node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).removeprefix(OURS + ".")


def _ours(package: list[str], module: str | None, name: str) -> str:
    given = [*package, *(module.split(".") if module else [])]
    for parts in ([*given, name], given):
        path = PACKAGE.joinpath(*parts)
        if path.with_suffix(".py").exists() or path.is_dir():
            return ".".join(parts)
    raise AssertionError(f"{module} does not exist")


def modules() -> list[str]:
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.with_suffix("").parts) for path in paths if path.parts[0] != "testing")


def top_level(name: str) -> str:
    return name.partition(".")[0]


def outside(name: str) -> set[str]:
    """What a module imports that is neither ours nor the standard library's."""
    ours = set(modules()) | {"wire"}
    return {each for each in imported(name) if each not in ours and top_level(each) not in sys.stdlib_module_names}


def inside(name: str) -> set[str]:
    return {each for each in imported(name) if each in set(modules()) | {"wire"}}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_import_the_standard_library(name: str) -> None:
    assert outside(name) == set()
    assert inside(name) <= VALUES


@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_decisions_import_values_and_each_other(name: str) -> None:
    assert outside(name) == set()
    assert inside(name) <= VALUES | DECISIONS


@pytest.mark.parametrize("name", sorted(PARSED))
def test_what_is_parsed_is_parsed_by_pydantic_and_nothing_else(name: str) -> None:
    assert outside(name) == {"pydantic"}
    assert inside(name) <= VALUES | DECISIONS


@pytest.mark.parametrize("name", sorted(STATE | SEAM))
def test_state_and_seam_know_neither_the_wire_nor_litellm(name: str) -> None:
    assert {top_level(each) for each in outside(name)} <= {
        "pluggy",
        "platformdirs",
        "pydantic",
        "pydantic_settings",
        "typing_extensions",
    }
    assert inside(name) <= VALUES | DECISIONS | PARSED | STATE | SEAM


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_is_shared_knows_the_state_and_the_client_of_redis(name: str) -> None:
    assert {top_level(each) for each in outside(name)} <= {"redis"}
    assert inside(name) <= VALUES | DECISIONS | PARSED | STATE | SHARED


@pytest.mark.parametrize("name", sorted(BRIDGE))
def test_the_bridge_does_not_know_which_client_sends(name: str) -> None:
    assert outside(name) == set()
    assert inside(name) <= VALUES | DECISIONS | PARSED | STATE | SHARED | SEAM | BRIDGE | {"wire"}


@pytest.mark.parametrize("name", [name for name in modules() if top_level(name) not in TOP | {"wire"}])
def test_only_the_wire_and_the_top_know_an_http_client(name: str) -> None:
    assert not {top_level(each) for each in outside(name)} & (NETWORK - {"socket", "ssl"})


@pytest.mark.parametrize(
    "name", [each for each in modules() if top_level(each) not in TOP | {"demo"} and each not in DOCTOR]
)
def test_only_the_top_and_the_demonstration_know_litellm(name: str) -> None:
    assert "litellm" not in {top_level(each) for each in outside(name)}


@pytest.mark.parametrize("name", sorted(VALUES | DECISIONS | PARSED | STATE | SEAM))
def test_the_core_does_no_io(name: str) -> None:
    used = {top_level(each) for each in imported(name)}
    assert not used & (NETWORK | {"asyncio", "subprocess", "select", "selectors", "http"})


@pytest.mark.parametrize("name", sorted((VALUES | DECISIONS | PARSED) - {"wire.values"}))
def test_no_decision_reads_a_clock(name: str) -> None:
    assert "time" not in {top_level(each) for each in imported(name)}
    assert not {"now", "utcnow", "today"} & {
        node.attr for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)
    } - {
        "now" if name == "negotiation" else ""  # the policy's own, which is injected
    }


@pytest.mark.parametrize("name", sorted((VALUES | DECISIONS | PARSED | STATE | SHARED | SEAM | BRIDGE) - {"settings"}))
def test_only_the_settings_read_the_environment(name: str) -> None:
    names = {node.attr for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)}
    assert not names & {"environ", "getenv", "environb"}


@pytest.mark.parametrize("name", ["memory", "wire.values", "engine"])
def test_where_time_is_known_the_clock_can_be_replaced(name: str) -> None:
    """`time` appears as a default argument or not at all; nothing calls it directly."""
    calls = {ast.unparse(node.func) for node in ast.walk(tree(name)) if isinstance(node, ast.Call)}
    assert not {each for each in calls if each.startswith("time.")}


def test_the_layers_name_modules_that_exist() -> None:
    assert set(modules()) >= VALUES | DECISIONS | PARSED | STATE | SHARED | SEAM | BRIDGE
