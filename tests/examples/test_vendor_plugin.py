"""The example of a vendor package, really installed, so that its entry point is what makes it work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

EXAMPLE = Path(__file__).parents[2] / "examples" / "vendor-plugin"
ACME = Manners(
    styles={"*": ("x-acme-token",), "models": ("none", "x-acme-token")},
    models=("acme/large-2026-01", "acme/small-2026-01"),
)
TWO_CALLS = """
import os
import litellm
import litellm_gateway_plugin
litellm_gateway_plugin.install()
for _ in range(2):
    response = litellm.completion(
        "gateway/" + os.environ["MODEL"],
        [{"role": "user", "content": "hello"}],
        api_base=os.environ["BASE"],
        api_key=os.environ["KEY"],
    )
    print(response.choices[0].message.content)
"""

UNREACHABLE = re.compile(
    r"No module named pip|resolution|dns error|timed out|[Cc]onnect|[Nn]etwork|Max retries|sending request"
)

pytestmark = pytest.mark.slow


def install(package: Path, target: Path) -> Path:
    """Install a package into a folder of its own, with uv where there is one."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    done = subprocess.run(
        [*pip, "--no-deps", "--target", str(target), str(package)], capture_output=True, text=True, check=False
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the example cannot be built here: it needs uv or pip, and hatchling from a package index")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(EXAMPLE, tmp_path_factory.mktemp("vendor") / "site")


@pytest.fixture(scope="module")
def misspelt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with a slip of the pen in a hook's name."""
    package = tmp_path_factory.mktemp("misspelt") / "package"
    shutil.copytree(EXAMPLE, package)
    module = package / "acme_gateway" / "__init__.py"
    module.write_text(module.read_text().replace("def gateway_auth_order", "def gateway_auth_oder"))
    return install(package, package.parent / "site")


def run(source: str, site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own that finds the installed package."""
    path = os.pathsep.join([str(site), *(entry or os.getcwd() for entry in sys.path)])  # noqa: PTH109  as Python says it
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.usefixtures("isolated_environment")
def test_the_header_is_known_before_the_first_request(installed: Path, gateway: GatewayFactory) -> None:
    server = gateway(ACME)
    done = run(TWO_CALLS, installed, BASE=server.base(), KEY=FAKE_KEY, MODEL="acme/large-2026-01")
    assert done.stdout.splitlines() == ["echo: hello"] * 2, done.stderr
    assert server.styles() == ["x-acme-token"] * 2
    assert len(server.seen) == 2


@pytest.mark.usefixtures("isolated_environment")
def test_the_short_name_costs_one_look_at_the_listing(installed: Path, gateway: GatewayFactory) -> None:
    server = gateway(ACME)
    done = run(TWO_CALLS, installed, BASE=server.base(), KEY=FAKE_KEY, MODEL="acme-large")
    assert done.stdout.splitlines() == ["echo: hello"] * 2, done.stderr
    assert [(seen.surface, seen.model, seen.verdict) for seen in server.seen] == [
        ("chat", "acme-large", "no model"),
        ("models", "", "served"),
        ("chat", "acme/large-2026-01", "served"),
        ("chat", "acme/large-2026-01", "served"),
    ]


@pytest.mark.usefixtures("isolated_environment")
def test_without_the_package_the_header_is_unknown(tmp_path: Path, gateway: GatewayFactory) -> None:
    server = gateway(ACME)
    done = run(TWO_CALLS, tmp_path, BASE=server.base(), KEY=FAKE_KEY, MODEL="acme/large-2026-01")
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr
    assert "x-acme-token" not in server.styles()


@pytest.mark.usefixtures("isolated_environment")
def test_a_misspelt_hook_is_one_clear_error_at_install(misspelt: Path) -> None:
    done = run("import litellm_gateway_plugin as lgp; lgp.install()", misspelt)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert "InvalidInput" in last
    assert "gateway_auth_oder" in last
    assert "acme" in last
