"""`litellm-gateway run`: the program cannot tell the difference from `python`, except that its gateways answer."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipapp
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from litellm_gateway_plugin import on_import
from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.programs import Handover, Program, program_of
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.command_line import GUARD_S, ended, interrupted, started

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither such scripts nor such signals")

TELLTALE = """\
import sys, __main__
print(sys.argv, sys.path[0], __name__, globals().get("__file__"), __main__ is sys.modules["__main__"])
print(__main__.__dict__ is globals(), __spec__ and __spec__.name, __builtins__.__name__, annotated.__annotations__)
"""
TELLTALE = "def annotated(x: int): ...\n" + TELLTALE
PIP_S_FORM = "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''"
"""How pip begins a script whose interpreter has a long path."""


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return isolated_environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Programs: a script, a package, a folder with a `__main__`."""
    (tmp_path / "script.py").write_text(TELLTALE, "utf-8")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(TELLTALE, "utf-8")
    (tmp_path / "package" / "module.py").write_text(TELLTALE, "utf-8")
    return tmp_path


def directly(*words: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=GUARD_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["script.py", "a", "--b", "--", "c"],
        ["-m", "package", "a", "-m", "b"],
        ["-m", "package.module"],
        ["-c", TELLTALE, "a", "-c"],
        ["-m", "nothing_like_this"],
        ["-c", "import sys; sys.exit(7)"],
        ["-c", "import sys; sys.exit('a reason')"],
        ["-c", "import sys; sys.exit()"],
        ["-c", "1 / 0"],
        ["-c", "open('/nothing/there')"],
        ["-c", "raise BrokenPipeError(32, 'Broken pipe')"],
        ["-c", "raise EOFError"],
        ["-c", "import click; raise click.ClickException('not ours')"],
        ["-c", "from litellm_gateway_plugin.errors import InvalidInput; raise InvalidInput('not ours')"],
        ["-c", "def ("],
        ["-c", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('two') from e"],
        ["-c", "import sys; sys.excepthook = lambda kind, error, trace: print(kind, trace.tb_next); 1 / 0"],
        ["-c", "import atexit; atexit.register(print, 'bye'); 1 / 0"],
        ["-c", "import threading, time; threading.Thread(target=lambda: (time.sleep(.1), print('last'))).start()"],
    ],
)
def test_a_program_runs_as_it_does_directly(folder: Path, words: list[str]) -> None:
    assert ended("run", "--", *words, cwd=folder) == directly(*words, cwd=folder)


MINOR = f"python3.{sys.version_info.minor}"


@pytest.mark.parametrize("python", ["python", "python3", MINOR, sys.executable])
@pytest.mark.parametrize("words", [["script.py", "a"], ["-m", "package", "b"], ["-c", "import sys; sys.exit(7)"]])
def test_a_python_before_it_changes_nothing(folder: Path, python: str, words: list[str]) -> None:
    assert ended("run", "--", python, *words, cwd=folder) == directly(*words, cwd=folder)


@UNIX
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["python"], "After python comes -m, -c, a file"),
        (["python3.1", "script.py"], "python3.1 is another Python than the one here"),
        (["/elsewhere/bin/python3", "script.py"], "/elsewhere/bin/litellm-gateway run -- script.py"),
        (["python", "-u", "script.py"], "-u cannot be used here"),
    ],
)
def test_another_python_is_refused(words: list[str], said: str) -> None:
    shown = CliRunner().invoke(main, ["run", "--", *words])
    assert shown.exit_code == 2
    assert said in shown.stderr


def test_a_script_s_traceback_and_status(folder: Path) -> None:
    (folder / "fails.py").write_text("def f():\n    raise ValueError('mine')\n\n\nf()\n", "utf-8")
    assert ended("run", "--", "fails.py", cwd=folder) == directly("fails.py", cwd=folder)
    assert ended("run", "--", "fails.py", cwd=folder)[0] == 1


@pytest.mark.parametrize("name", ["package", "archive.pyz", "./archive"])
def test_a_folder_or_an_archive_with_a_main_in_it(folder: Path, name: str) -> None:
    zipapp.create_archive(folder / "package", folder / "archive.pyz")
    zipapp.create_archive(folder / "package", folder / "archive", interpreter=sys.executable)
    status, output, errors = directly(name, "a", cwd=folder)
    assert ended("run", "--", name, "a", cwd=folder) == (status, output.replace("/./", "/"), errors)


@UNIX
def test_ctrl_c_is_the_program_s_own(folder: Path) -> None:
    (folder / "waits.py").write_text(
        "import atexit, time\natexit.register(print, 'bye')\nprint('up', flush=True)\ntime.sleep(60)\n", "utf-8"
    )
    ours = started("run", "--", "waits.py", cwd=folder)
    assert ours.stdout is not None
    status, errors = interrupted(ours, ours.stdout.readline)
    assert (status, errors.splitlines()[-1]) == (-2, "KeyboardInterrupt")
    assert "litellm_gateway_plugin" not in errors


def test_stock_litellm_reaches_a_picky_gateway_without_a_change(
    folder: Path, gateway: GatewayFactory, environment: pytest.MonkeyPatch
) -> None:
    picky = gateway(Manners(styles={"*": ("x-api-key",)}))
    (folder / "calls.py").write_text(
        "import litellm\n"
        "answer = litellm.completion('gateway/test/model-small', [{'role': 'user', 'content': 'hello'}])\n"
        "print(answer.choices[0].message.content)\n",
        "utf-8",
    )
    environment.setenv("LITELLM_GATEWAY_API_BASE", picky.url)
    environment.setenv("LITELLM_GATEWAY_API_KEY", FAKE_KEY)
    status, output, _ = ended("run", "--", "calls.py", cwd=folder)
    assert (status, output) == (0, "echo: hello\n")
    assert picky.styles("chat") == ["bearer", "bearer", "x-api-key"]


def test_a_program_without_litellm_does_not_wait_for_it(folder: Path) -> None:
    _, output, _ = ended("run", "--", "-c", "import sys; print('litellm' in sys.modules)", cwd=folder)
    assert output == "False\n"


def test_litellm_looks_as_if_nobody_had_been_there(folder: Path) -> None:
    program = (
        "import sys, litellm, importlib.resources\n"
        "print(type(litellm.__loader__).__name__, litellm.__spec__.loader is litellm.__loader__)\n"
        "print([each for each in sys.meta_path if 'gateway' in type(each).__module__])\n"
        "print((importlib.resources.files('litellm') / '__init__.py').is_file())\n"
        "print(litellm.custom_provider_map[0]['provider'])\n"
    )
    status, output, _ = ended("run", "--", "-c", program, cwd=folder)
    assert (status, output.splitlines()) == (0, ["SourceFileLoader True", "[]", "True", "gateway"])


def test_who_only_looks_for_litellm_finds_it_as_always(folder: Path) -> None:
    program = (
        "import sys; from importlib.util import find_spec\n"
        "print(find_spec('litellm').loader.get_filename('litellm'), 'litellm' in sys.modules)\n"
    )
    assert ended("run", "--", "-c", program, cwd=folder) == directly("-c", program, cwd=folder)


def test_a_command_of_this_environment(folder: Path) -> None:
    (folder / "pytest").mkdir()  # a folder of the same name is not meant
    status, output, _ = ended("run", "--", "pytest", "--version", cwd=folder)
    assert (status, output) == (0, f"pytest {pytest.__version__}\n")


@UNIX
@pytest.mark.parametrize("first", [f"#!{sys.executable}", PIP_S_FORM.replace("{}", sys.executable)])
def test_a_script_of_this_environment_that_is_on_the_path(
    folder: Path, environment: pytest.MonkeyPatch, first: str
) -> None:
    make(folder / "bin" / "tool", f"{first}\nimport sys\nprint(sys.argv[1:], __name__)\n")
    environment.setenv("PATH", str(folder / "bin"))
    assert ended("run", "--", "tool", "a", cwd=folder)[:2] == (0, "['a'] __main__\n")


@UNIX
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("#!{other}/bin/python\nprint('ran')\n", "belongs to another environment ({other})"),
        (PIP_S_FORM.replace("{}", "{other}/bin/python"), "belongs to another environment ({other})"),
        ("#!/bin/sh\necho ran\n", "is no Python program"),
        ("\x7fELF\x00\x00", "is no Python program"),
        ("", "is no Python program"),
    ],
)
def test_a_program_that_cannot_run_here_is_one_error_with_a_way_out(
    folder: Path, environment: pytest.MonkeyPatch, content: str, words: str
) -> None:
    other = folder / "other"
    make(other / "bin" / "python", "")
    make(folder / "bin" / "tool", content.replace("{other}", str(other)))
    environment.setenv("PATH", str(folder / "bin"))
    for name in ("tool", "bin/tool"):
        status, output, errors = ended("run", "--", name, cwd=folder)
        assert (status, output) == (2, "")
        assert words.replace("{other}", str(other)) in errors
        assert errors.startswith("Error: ")
        assert (f"litellm-gateway run -- {name}" in errors) == ("another" in words)


@pytest.mark.parametrize(
    "words", [[], ["--"], ["--", "-m"], ["--", "-c"], ["--", "-X", "dev"], ["--", "no.py"], ["--", "no-such-program"]]
)
def test_wrong_use_ends_with_status_2_and_one_error(folder: Path, words: list[str]) -> None:
    shown = CliRunner().invoke(main, ["run", *words])
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.count("Error: ") == 1


def test_settings_that_cannot_be_used_are_told_before_the_program_begins(
    folder: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_GATEWAY_INTERCEPT", "sometimes")
    status, output, errors = ended("run", "--", "-c", "print('ran')", cwd=folder)
    assert (status, output) == (2, "")
    assert errors.startswith("Error: The settings cannot be used: ")


def test_a_handover_is_no_error_that_anybody_catches() -> None:
    program = program_of(["-c", "pass"])
    assert isinstance(program, Program)
    assert not issubclass(Handover, Exception)


# The moment of the installation ---------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, environment: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the place of litellm, and a note of what is done when."""
    name = "host_of_a_plugin"
    environment.setattr(on_import, "HOST", name)
    environment.setattr(sys, "meta_path", list(sys.meta_path))
    environment.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def notes(environment: pytest.MonkeyPatch) -> list[bool]:
    """For each installation, whether the host had been executed to its end."""
    found: list[bool] = []
    environment.setattr(on_import, "_install", lambda: found.append(hasattr(sys.modules[on_import.HOST], "last_line")))
    return found


def test_it_is_installed_once_when_the_host_s_own_code_has_run(
    host: str, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{host}.py").write_text("last_line = True\n", "utf-8")
    found = notes(environment)
    on_import.install_on_import()
    assert found == []
    module = importlib.import_module(host)
    importlib.reload(module)
    assert found == [True]
    assert isinstance(module, ModuleType)


def test_an_import_that_fails_is_tried_again(host: str, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"{host}.py"
    file.write_text("raise ImportError('not yet')\n", "utf-8")
    found = notes(environment)
    on_import.install_on_import()
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module(host)
    assert found == []
    file.write_text("last_line = 'it is here now'\n", "utf-8")
    importlib.invalidate_caches()
    importlib.import_module(host)
    assert found == [True]


def test_a_host_that_is_missing_is_missing(host: str, environment: pytest.MonkeyPatch) -> None:
    found = notes(environment)
    on_import.install_on_import()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(host)
    assert found == []


def test_with_the_host_there_it_is_installed_at_once(host: str, environment: pytest.MonkeyPatch) -> None:
    environment.setitem(sys.modules, host, ModuleType(host))
    found = notes(environment)
    on_import.install_on_import()
    assert found == [False]


def make(path: Path, content: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content, "utf-8")
    path.chmod(0o755)
