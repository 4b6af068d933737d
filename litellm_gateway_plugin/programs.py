"""Python programs of the user's, run in this interpreter as `python` would run them, with the plugin beside litellm.

`sys.argv`, `sys.path[0]`, `__main__`, the exit status, Ctrl-C and tracebacks are what they are without us: the program
runs after the command line has been left, and Python itself deals with whatever the program raises.
"""

from __future__ import annotations

import builtins
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from .errors import InvalidInput
from .on_import import install_on_import

SCRIPT_SUFFIXES = (".py", ".pyw", ".pyz")
LONGEST_SHEBANG = 1024
PYTHON = re.compile(r"python(?:3(?:\.(\d+))?)?(?:\.exe)?", re.IGNORECASE)
"""The name of an interpreter, and of which 3.x."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run.

    Attributes:
        argv: `sys.argv`.
        path: `sys.path[0]`.
        execute: runs it.
    """

    argv: Sequence[str]
    path: str
    execute: Callable[[], Any]

    def run(self) -> None:
        """Run it. Raises whatever it raises; the traceback that Python then prints is the program's own part."""
        sys.argv[:] = self.argv
        if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):  # there Python puts nothing of its own
            sys.path[0] = self.path
        install_on_import()
        try:
            self.execute()
        except BaseException:
            _show_the_program_alone()
            raise


class Handover(BaseException):
    """The command line has been read, and this program is what runs now. No error: it passes what deals with those."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program


def program_of(words: Sequence[str]) -> Program:
    """The program that a command line names, as after `python`, or by the name of a command.

    Args:
        words: `-m MODULE`, `-c CODE`, a file, or the name of a command, and its arguments; a `python` before these, as
            people type it, changes nothing.

    Raises:
        InvalidInput: there is none, or it is none of Python's, or one of another environment.
    """
    words = _after_python(words)
    name, arguments = words[0], list(words[1:])
    if name in ("-m", "-c"):
        return _of_option(name, arguments)
    if name.startswith("-"):
        raise InvalidInput(f"{name} cannot be used here: after -- comes -m, -c, a file, or the name of a program.")
    if _is_path(name):
        return _of_path(name, name, arguments)
    return _of_command(name, arguments)


def _after_python(words: Sequence[str]) -> Sequence[str]:
    """What comes after `python`, if that is first. Raises InvalidInput: it is another one, or nothing comes."""
    name = Path(words[0]).name
    found = PYTHON.fullmatch(name)
    if found is None:
        return words
    if name != words[0] and not _is_ours(str(Path(words[0]).absolute())):
        _refuse_interpreter(words[0], words[0], " ".join(words[1:2]))
    if found[1] is not None and int(found[1]) != sys.version_info.minor:
        raise InvalidInput(f"{name} is another Python than the one here, {sys.executable}: leave it out.")
    if not words[1:]:
        raise InvalidInput(f"After {name} comes -m, -c, a file, or the name of a program.")
    return words[1:]


def _of_option(option: str, words: list[str]) -> Program:
    if not words:
        raise InvalidInput(f"{option} needs a {'module' if option == '-m' else 'piece of code'} after it.")
    what, arguments = words[0], words[1:]
    if option == "-m":
        return Program(["-m", *arguments], str(Path.cwd()), lambda: _as_module(what))
    return Program(["-c", *arguments], "", lambda: _as_main(lambda: _compiled(what, "<string>")))


def _of_command(name: str, arguments: list[str]) -> Program:
    """A command of this environment, else whatever the shell would start, else a file."""
    entry = next(iter(entry_points(group="console_scripts", name=name)), None)
    if entry is not None:
        script = shutil.which(name, path=str(Path(sys.executable).parent)) or name
        return Program([script, *arguments], str(Path(script).parent), lambda: _as_command(entry))
    found = shutil.which(name)
    if found is None and not Path(name).exists():
        raise InvalidInput(f"There is no program {name}: no such file, and no such command on PATH or in {sys.prefix}.")
    return _of_path(found or name, name, arguments)


def _is_path(name: str) -> bool:
    """Whether a file is meant, and not a command: also where a file of a command's name lies in this folder."""
    return "/" in name or os.sep in name or name.endswith(SCRIPT_SUFFIXES)


def _of_path(path: str, name: str, arguments: list[str]) -> Program:
    """The program in a file; in a folder or an archive with a `__main__` in it, as Python has them."""
    whole = str(Path(path).absolute())
    if not Path(whole).exists():
        raise InvalidInput(f"There is no file {path}.")
    if not (Path(whole).is_dir() or path.endswith(SCRIPT_SUFFIXES)):
        _check_interpreter(whole, name)
    if pkgutil.get_importer(whole) is not None:
        return Program([path, *arguments], whole, _as_folder)
    folder = str(Path(os.path.realpath(whole)).parent)
    return Program([path, *arguments], folder, lambda: _as_main(lambda: _read(whole), whole))


def _check_interpreter(path: str, name: str) -> None:
    """Raises InvalidInput: the first line does not name Python, or that of another environment."""
    interpreter = _interpreter(path)
    if interpreter is None:
        raise InvalidInput(
            f"{path} is no Python program, and the plugin works inside Python only. What speaks OpenAI's API in "
            "another language can go through the LiteLLM proxy: litellm-gateway router --yaml writes its configuration."
        )
    if not _is_ours(interpreter):
        _refuse_interpreter(interpreter, path, name)


def _refuse_interpreter(interpreter: str, path: str, name: str) -> NoReturn:
    folder = Path(interpreter).parent
    raise InvalidInput(
        f"{path} belongs to another environment ({folder.parent}). Install litellm-gateway-plugin there (pip, pipx "
        f"inject, uv tool install --with), and then: {folder / 'litellm-gateway'} run -- {name}"
    )


def _interpreter(path: str) -> str | None:
    """The Python that a script's first lines name: `#!python`, `#!env python`, or pip's form for long paths."""
    with Path(path).open("rb") as file:
        first, second = (file.readline(LONGEST_SHEBANG).decode("utf-8", "replace") for _ in range(2))
    if not first.startswith("#!"):
        return None
    words = first[2:].split()
    if words and Path(words[0]).name == "env":
        words = [each for each in words[1:] if not each.startswith("-")]
    if second.startswith("'''exec'"):  # to Python a string, to the shell a command
        words = shlex.split(second.removeprefix("'''exec'"))
    if not words or not Path(words[0]).name.lower().startswith(("python", "pypy")):
        return None
    return shutil.which(words[0]) or words[0]


def _is_ours(interpreter: str) -> bool:
    in_venv = sys.prefix != sys.base_prefix
    if in_venv:  # its Python is a link to one that many environments share
        return Path(interpreter).parent.resolve() == Path(sys.executable).parent.resolve()
    return Path(interpreter).resolve() == Path(sys.executable).resolve()


def _as_main(code: Callable[[], CodeType], file: str | None = None) -> None:
    """Execute code in a new `__main__`."""
    exec(code(), _new_main(file).__dict__)  # noqa: S102  that is what running a program is


def _as_module(name: str) -> None:
    """What Python itself calls for -m: the public `run_module` takes `__main__` away again at the end."""
    _new_main()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _as_folder() -> None:
    """The same for a folder or an archive, which is at the head of `sys.path`."""
    _new_main()
    runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]


def _as_command(entry: EntryPoint) -> None:
    """What the script of a command does."""
    _new_main()
    sys.exit(entry.load()())


def _new_main(file: str | None = None) -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    if file is not None:
        main.__file__ = file
        main.__loader__ = SourceFileLoader("__main__", file)
        main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    return main


def _read(file: str) -> CodeType:
    return _compiled(Path(file).read_bytes(), file)


def _compiled(source: str | bytes, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)


def _show_the_program_alone() -> None:
    """Have the hook that prints what nobody has caught see the program's frames, and not those above them."""
    hook = sys.excepthook

    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        own = _own_part(trace)
        hook(kind, error.with_traceback(own), own)

    sys.excepthook = shown


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """What comes after our last frame."""
    rest, found = trace, trace
    while rest is not None:
        if rest.tb_frame.f_code.co_filename == __file__:
            found = rest.tb_next
        rest = rest.tb_next
    return found
