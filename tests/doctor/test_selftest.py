"""The self-test of the installation: what it finds, what it leaves behind, what it never says."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from litellm_gateway_plugin.doctor import host, loopback, selftest
from litellm_gateway_plugin.doctor.host import NO_PROXY_NAMES
from litellm_gateway_plugin.doctor.report import Check, Outcome
from litellm_gateway_plugin.doctor.selftest import self_test
from litellm_gateway_plugin.testing import FAKE_KEY
from litellm_gateway_plugin.variables import setting_names
from tests.support.redis_server import RedisServer, redis_binary

PASS, FAIL, SKIPPED = Outcome.PASS, Outcome.FAIL, Outcome.SKIPPED
CALLS = ("provider", "hook", "tool_calls", "stream", "router", "session")
State = Callable[[], Mapping[str, str]]

pytestmark = pytest.mark.matrix


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("REDIS_URL", "REDIS_HOST", "http_proxy", "all_proxy", "no_proxy"):
        isolated_environment.delenv(name, raising=False)
    return isolated_environment


@pytest.fixture
def litter() -> Iterator[None]:
    """litellm never closes HTTP clients of its own."""
    import litellm

    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]  # litellm's
        gc.collect()


@pytest.fixture
def no_calls(environment: pytest.MonkeyPatch) -> None:
    """For tests of everything else: the calls are not made."""
    environment.setattr(selftest, "try_litellm", list)


def found(environment: Mapping[str, str] = os.environ) -> dict[str, Check]:
    checks = self_test(environment)
    assert FAKE_KEY not in repr(checks)
    return {check.name: check for check in checks}


def outcomes(checks: Mapping[str, Check]) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in checks.items()}


class TestTheCalls:
    def test_all_is_well_and_litellm_is_left_as_it_was(
        self, litellm_state: State, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from litellm_gateway_plugin import installation

        before, proxies = litellm_state(), [os.environ.get(name) for name in NO_PROXY_NAMES]
        checks = found()
        assert {name: outcome for name, outcome in outcomes(checks).items() if outcome is not PASS} == {
            "redis": SKIPPED
        }
        assert litellm_state() == before
        assert [os.environ.get(name) for name in NO_PROXY_NAMES] == proxies
        assert installation.current() is None
        assert "".join(capfd.readouterr()) == ""
        table = re.findall(r"^\| `(\w+)` \|", selftest.__doc__ or "", re.MULTILINE)
        assert sorted(checks) == sorted(table)

    def test_a_plugin_that_is_there_is_tried_and_stays(self, litellm_state: State) -> None:
        import litellm_gateway_plugin as lgp
        from litellm_gateway_plugin import installation

        mine = lgp.install(cache=False, cold_grace_s=0.5)
        try:
            before = litellm_state()
            checks = found()
            now = installation.current()
            assert now is not None
            assert now.gateway is mine
            assert {checks[name].outcome for name in CALLS} == {PASS}
            assert litellm_state() == before
        finally:
            lgp.uninstall()

    def test_what_the_operator_has_switched_off_is_not_tried(self) -> None:
        import litellm_gateway_plugin as lgp

        lgp.install(cache=False, intercept="off", gate=False)
        try:
            checks = found()
        finally:
            lgp.uninstall()
        skipped = {name for name in CALLS if checks[name].outcome is SKIPPED}
        assert skipped == {"hook", "router", "session"}
        assert "LITELLM_GATEWAY_INTERCEPT=off" in checks["hook"].words

    def test_a_proxy_for_everything_is_not_in_the_way(self, environment: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy"):
            environment.setenv(name, "http://127.0.0.1:9")
        checks = found()
        assert {checks[name].outcome for name in CALLS} == {PASS}
        assert checks["proxy"].outcome is PASS
        assert "127.0.0.1" in checks["proxy"].words
        assert checks["proxy"].hint == "export NO_PROXY=127.0.0.1,localhost"

    def test_an_http_client_of_the_programs_own(self, environment: pytest.MonkeyPatch, litter: None) -> None:
        import httpx
        import litellm

        with httpx.Client() as mine:
            environment.setattr(litellm, "client_session", mine)
            checks = found()
            assert litellm.client_session is mine
        assert {name for name in CALLS if checks[name].outcome is FAIL} == {"session"}
        assert "client_session" in checks["session"].words

    @pytest.mark.parametrize(
        ("hook", "broken"),
        [("async_pre_call_deployment_hook", {"hook", "stream"}), ("async_filter_deployments", {"router"})],
    )
    def test_a_hook_that_litellm_does_not_call_any_more(
        self, hook: str, broken: set[str], environment: pytest.MonkeyPatch
    ) -> None:
        from litellm_gateway_plugin.deployment_hook import GatewayCallback

        environment.delattr(GatewayCallback, hook)
        checks = found()
        assert {name for name in CALLS if checks[name].outcome is FAIL} == broken
        assert all(checks[name].hint == loopback.UPGRADE for name in broken)

    def test_a_provider_that_litellm_does_not_reach(self, environment: pytest.MonkeyPatch) -> None:
        from litellm_gateway_plugin.installation import Installation

        environment.setattr(Installation, "_map", lambda self, name: None)
        checks = found()
        assert checks["provider"].outcome is FAIL
        assert checks["provider"].words.startswith("calls of gateway/<id> fail: ")
        assert checks["session"].outcome is PASS

    def test_a_session_that_litellm_does_not_use(self, environment: pytest.MonkeyPatch, litter: None) -> None:
        from litellm_gateway_plugin.sessions import Sessions

        environment.setattr(Sessions, "register", lambda self: None)
        checks = found()
        assert {name for name in CALLS if checks[name].outcome is FAIL} == {"session"}

    def test_a_litellm_without_what_it_imports_for_tools(self, environment: pytest.MonkeyPatch) -> None:
        import litellm

        completion = litellm.completion

        def without_mcp(**asked: Any) -> Any:
            if asked.get("tools"):
                raise ImportError("No module named 'mcp'")
            return completion(**asked)

        environment.setattr(litellm, "completion", without_mcp)
        checks = found()
        assert checks["tool_calls"].outcome is FAIL
        assert checks["tool_calls"].words == "calls with tools fail: No module named 'mcp'"
        assert checks["tool_calls"].hint == 'pip install "litellm[mcp]"'

    def test_a_litellm_that_cannot_be_imported(self, environment: pytest.MonkeyPatch) -> None:
        def broken() -> Any:
            raise ImportError("cannot import name 'x'")

        environment.setattr(loopback, "silence", broken)
        (check,) = loopback.try_litellm()
        assert (check.name, check.outcome) == ("provider", FAIL)
        assert "cannot import name 'x'" in check.words


class TestTheVersion:
    @pytest.mark.parametrize(
        ("version", "outcome", "word"),
        [
            ("1.106.2", PASS, "1.106.2"),
            ("1.90.0", PASS, "DEBUG"),
            ("1.109.1", PASS, "1.109.1"),
            ("1.89.9", FAIL, "too old"),
            ("1.82.7", FAIL, "malware"),
            ("1.82.8", FAIL, "malware"),
            ("1.107.0", FAIL, "tampered"),
            ("1.107.0rc2", FAIL, "tampered"),
            (None, FAIL, "not installed"),
        ],
    )
    def test_each(
        self, version: str | None, outcome: Outcome, word: str, environment: pytest.MonkeyPatch, no_calls: None
    ) -> None:
        environment.setattr(selftest, "litellm_version", lambda: version)
        checks = found()
        assert checks["litellm"].outcome is outcome
        assert word in checks["litellm"].words
        tried = {checks[name].outcome for name in CALLS if name in checks}
        assert tried == (set() if outcome is PASS else {SKIPPED})

    def test_they_are_those_that_install_refuses(self) -> None:
        from litellm_gateway_plugin import installation

        assert selftest.OLDEST == installation.OLDEST
        assert selftest.TAMPERED == installation.EXCLUDED


@pytest.mark.usefixtures("no_calls")
class TestWhatIsSetInLitellm:
    def test_nothing(self) -> None:
        assert found()["switches"].words == "nothing else is set in litellm"

    def test_each_is_named_and_never_its_value(self, environment: pytest.MonkeyPatch) -> None:
        import litellm

        class Mine:
            def __repr__(self) -> str:
                return FAKE_KEY

        for name, value in {"api_base": f"https://u:{FAKE_KEY}@x", "api_key": FAKE_KEY, "drop_params": True}.items():
            environment.setattr(litellm, name, value)
        environment.setattr(litellm, "success_callback", ["langfuse", Mine()])
        check = found()["switches"]
        assert check.outcome is PASS
        for word in ("litellm.api_base", "litellm.api_key", "litellm.drop_params", "other callbacks: Mine, langfuse"):
            assert word in check.words

    def test_somebody_else_is_the_provider(self, environment: pytest.MonkeyPatch) -> None:
        import litellm

        environment.setattr(litellm, "custom_provider_map", [{"provider": "gateway", "custom_handler": object()}])
        assert found()["switches"].outcome is FAIL


@pytest.mark.usefixtures("no_calls")
class TestTheEnvironment:
    def test_a_setting_that_cannot_be_used(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_COLD_GRACE_S", FAKE_KEY)
        checks = found()
        assert checks["settings"].outcome is FAIL
        assert "COLD_GRACE_S" in checks["settings"].words.upper()
        assert outcomes(checks)["cache"] is outcomes(checks)["redis"] is SKIPPED

    def test_how_many_gateways(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_API_BASE", "https://a.example.com")
        environment.setenv("LITELLM_GATEWAY_API_BASE_7", "https://b.example.com")
        assert found()["settings"].words == "2 gateways in the environment"

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("LITELLM_GATEWAY_BASE", "did you mean LITELLM_GATEWAY_BASES?"),
            ("LITELLM_GATEWAY_API_BSE", "did you mean LITELLM_GATEWAY_API_BASE?"),
            ("LITELLM_GATEWAY_APIKEY_2", "did you mean LITELLM_GATEWAY_API_KEY_2?"),
            ("LITELLM_GATEWAY_TIMEOUT", "did you mean LITELLM_GATEWAY_TIMEOUT_S?"),
            ("LITELLM_GATEWAY_ZZZZ_QQQQ_XXXX_WWWW", "unset it."),
        ],
    )
    def test_a_misspelt_variable(self, name: str, hint: str) -> None:
        check = found({name: FAKE_KEY})["variables"]
        assert (check.outcome, check.words, check.hint) == (FAIL, f"{name} is no setting: {hint}", "")

    def test_every_setting_is_known(self) -> None:
        names = Path("docs/settings.md").read_text("utf-8")
        documented = set(re.findall(r"`(LITELLM_GATEWAY_[A-Z0-9_]+)`", names))
        assert documented >= setting_names()
        plain = dict.fromkeys(setting_names(), "x") | {
            "LITELLM_GATEWAY_API_BASE_3": "x",
            "LITELLM_GATEWAY_API_KEY_3": "x",
            "LITELLM_GATEWAY_VLM_MODEL_3": "x",
            "litellm_gateway_cache": "x",
        }
        assert found(plain)["variables"].outcome is PASS

    def test_a_key_without_its_base(self) -> None:
        check = found({"LITELLM_GATEWAY_API_KEY_3": FAKE_KEY})["variables"]
        assert (check.outcome, check.words) == (
            FAIL,
            "LITELLM_GATEWAY_API_KEY_3: no base has this number: ignored",
        )
        older = {"LITELLM_GATEWAY_API_KEY_3": FAKE_KEY, "CHUTES_API_BASE_3": "x"}
        assert found(older)["variables"].outcome is PASS

    @pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
    def test_a_base_for_openai(self, name: str) -> None:
        check = found({name: f"https://u:{FAKE_KEY}@x"})["openai_variables"]
        assert check.outcome is PASS
        assert check.words.startswith(f"{name} is set")

    @pytest.mark.parametrize(
        ("base", "no_proxy", "outcome", "hint"),
        [
            ("http://127.0.0.1:8000/v1", "", FAIL, True),
            ("http://localhost:8000/v1", "example.com", FAIL, True),
            ("https://a.example.com", "", PASS, True),
            ("http://127.0.0.1:8000/v1", "localhost,127.0.0.1", PASS, False),
            ("http://127.0.0.1:8000/v1", "*", PASS, False),
        ],
    )
    def test_a_proxy_between_this_machine_and_itself(
        self, base: str, no_proxy: str, outcome: Outcome, hint: bool, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setenv("LITELLM_GATEWAY_API_BASE", base)
        check = found({"HTTP_PROXY": f"http://u:{FAKE_KEY}@proxy:1", "NO_PROXY": no_proxy})["proxy"]
        assert (check.outcome, bool(check.hint)) == (outcome, hint)


@pytest.mark.usefixtures("no_calls")
class TestTheCache:
    def test_it_can_be_written(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "cache"
        environment.setenv("LITELLM_GATEWAY_CACHE_DIR", str(folder))
        assert found()["cache"].words == str(folder)
        assert list(folder.iterdir()) == []

    def test_it_cannot(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        environment.setenv("LITELLM_GATEWAY_CACHE_DIR", str(tmp_path / "file" / "cache"))
        check = found()["cache"]
        assert check.outcome is PASS  # the plugin goes on without it
        assert "cannot be written" in check.words
        assert "LITELLM_GATEWAY_CACHE_DIR" in check.hint

    def test_it_is_not_wanted(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_CACHE", "false")
        assert found()["cache"].outcome is SKIPPED


@pytest.mark.usefixtures("no_calls")
class TestRedis:
    @pytest.fixture
    def redis(self) -> Iterator[RedisServer]:
        if redis_binary() is None:
            pytest.skip("no redis-server here: apt-get install redis-server")
        with RedisServer(password=FAKE_KEY) as running:
            yield running

    @pytest.mark.real
    def test_it_answers(self, redis: RedisServer, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("REDIS_URL", redis.url)
        assert found()["redis"].outcome is PASS

    @pytest.mark.real
    def test_it_wants_another_password(self, redis: RedisServer, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LITELLM_GATEWAY_REDIS_URL", f"redis://:{FAKE_KEY}-not@127.0.0.1:{redis.port}")
        check = found()["redis"]
        assert check.outcome is FAIL
        assert "AuthenticationError" in check.words

    def test_it_does_not_answer(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("REDIS_URL", f"redis://:{FAKE_KEY}@127.0.0.1:9/0")
        check = found()["redis"]
        assert check.outcome is FAIL
        assert "LITELLM_GATEWAY_REDIS_URL=off" in check.hint

    def test_its_client_is_missing(self, environment: pytest.MonkeyPatch) -> None:
        environment.setitem(sys.modules, "redis", None)
        environment.setenv("REDIS_URL", f"redis://:{FAKE_KEY}@127.0.0.1:9/0")
        check = found()["redis"]
        assert (check.outcome, check.hint) == (FAIL, 'pip install "litellm-gateway-plugin[redis]"')

    def test_it_is_switched_off(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
        environment.setenv("LITELLM_GATEWAY_REDIS_URL", "off")
        assert found()["redis"].outcome is SKIPPED


@pytest.mark.usefixtures("no_calls")
@pytest.mark.parametrize("package", ["tenacity", "httpx", "openai"])
def test_a_package_is_missing(package: str, environment: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def version_of(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    environment.setattr(selftest, "version", version_of)
    environment.setattr("importlib.util.find_spec", lambda name: None if name == package else find(name))
    _, check, *_ = selftest._checks(os.environ, load=True)
    assert (check.name, check.outcome) == ("packages", FAIL)
    assert package in check.hint


def test_without_loading_the_cheap_checks_are_made() -> None:
    program = (
        "import sys\n"
        "from litellm_gateway_plugin.doctor.selftest import self_test\n"
        "print(*(f'{each.name} {each.outcome.value} {each.words}' for each in self_test(load=False)), sep='\\n')\n"
        "assert 'litellm' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    left_out = {name: words for name, outcome, words in lines if outcome == "SKIPPED" and name != "redis"}
    assert left_out == dict.fromkeys(("switches", *CALLS), selftest.NOT_LOADED)
    assert {"litellm", "settings", "variables", "proxy", "cache"} <= {
        name for name, outcome, _ in lines if outcome == "PASS"
    }


def test_a_loop_that_cannot_run_is_told_to_whoever_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(coroutine: Any) -> None:
        coroutine.close()
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "run", refuse)
    with pytest.raises(OSError, match="too many open files"), host.event_loop():
        pass


PROGRAM = """
import json, sys
from litellm_gateway_plugin.doctor.selftest import self_test

assert "litellm" not in sys.modules
json.dump({check.name: check.outcome.value for check in self_test()}, sys.stdout)
"""


@pytest.mark.slow
def test_a_litellm_that_cannot_be_imported_is_the_finding(tmp_path: Path) -> None:
    """The doctor goes on without it, and nothing else is tried."""
    (tmp_path / "litellm").mkdir()
    (tmp_path / "litellm" / "__init__.py").write_text("import a_package_that_is_missing\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from litellm_gateway_plugin.doctor.selftest import self_test\n"
        "print(*(f'{each.name} {each.outcome.value} {each.words}' for each in self_test()), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, _, *rest = done.stdout.splitlines()
    assert first.startswith("litellm FAIL litellm cannot be imported: ModuleNotFoundError: No module named 'a_package")
    assert [line.split()[:2] for line in rest[:7]] == [[name, "SKIPPED"] for name in ("switches", *CALLS)]


def test_no_proxy_is_one_variable_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    upper = os._Environ({}, str.upper, str, str, str)  # as Windows makes it
    monkeypatch.setattr(host, "os", types.SimpleNamespace(environ=upper))
    with host.no_proxy():
        assert dict(upper) == {"NO_PROXY": host.LOOPBACK}
    assert dict(upper) == {}


def test_a_program_says_nothing_else_and_ends() -> None:
    command = [sys.executable, "-X", "dev", "-W", "ignore:unclosed event loop", "-c", PROGRAM]
    environment = {**os.environ, "LITELLM_LOG": "DEBUG"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert set(json.loads(done.stdout).values()) == {"PASS", "SKIPPED"}
    assert done.stderr == ""
