"""Every file under `cassettes/` is read: no key, no cookie, no address or path of the machine that recorded it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from tests.support.cassettes import CASSETTES
from tests.support.redaction import KEY, ORIGIN, REDACTED, SCHEMES, UPSTREAM, WRONG_KEY, is_credential

pytestmark = pytest.mark.cassette

FILES = sorted(path for path in CASSETTES.rglob("*") if path.is_file())
MOST_BYTES = 8_000

FORBIDDEN = {
    "a key for an API": r"\b(sk|pk|rk|cpk|gsk|xai|pplx|hf|nvapi|tgp)[-_][A-Za-z0-9_-]{8,}",
    "a key of a cloud": r"\b(AKIA|ASIA|AIza|ya29\.|ghp_|gho_|github_pat_|glpat-|xox[abp]-)[A-Za-z0-9_-]{8,}",
    "a signed token": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "a private key": r"-----BEGIN",
    "a bearer that is not redacted": r"(?i)\bbearer +(?!<redacted>)[A-Za-z0-9._~+/-]{8,}={0,2}(?=['\"\s]|$)",
    "a basic credential": r"(?i)\bbasic +[A-Za-z0-9+/]{6,}={0,2}",
    "a hash": r"\b[0-9a-f]{40,}\b",
    "a cookie": r"(?i)\bcookie",
    "an address of a machine": r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|\blocalhost\b|\[[0-9a-f:]*::[0-9a-f:]*\]",
    "a path of a machine": r"(?<![\w:/.])/(home|root|tmp|var|usr|opt|work|Users|private|mnt|srv|etc|proc)/|\b[A-Z]:\\",
    "a package index": r"(?i)\b(pypi|index-url|simple/|artifactory|nexus|proxy\.golang|registry\.)",
    "a user and password in a URL": r"://[^/\s'\"]+@",
    "an address of mail": r"\b[\w.+-]+@[\w-]+\.[\w.]+",
    "a traceback": r"Traceback \(most recent|File \\?\"",
}
ALLOWED_HOSTS = {url.partition("://")[2] for url in (ORIGIN, UPSTREAM)}


def test_there_are_cassettes() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
class TestEveryCassette:
    def test_holds_nothing_like_a_secret(self, path: Path) -> None:
        text = path.read_text()
        assert KEY not in text
        assert WRONG_KEY not in text
        found = [name for name, pattern in FORBIDDEN.items() if re.search(pattern, text)]
        assert not found, f"{path.name} holds {', '.join(found)}"

    def test_has_redacted_every_credential(self, path: Path) -> None:
        for one in yaml.safe_load(path.read_text())["interactions"]:
            for name, values in one["request"]["headers"].items():
                if is_credential(name, ""):
                    assert [value.rpartition(" ")[2] for value in values] == [REDACTED]
                    assert all(value.partition(" ")[0].lower() in (*SCHEMES, REDACTED) for value in values)

    def test_names_no_host_but_made_up_ones(self, path: Path) -> None:
        assert set(re.findall(r"https?://([^/\s'\"\\]+)", path.read_text())) <= ALLOWED_HOSTS

    def test_is_small(self, path: Path) -> None:
        assert path.stat().st_size <= MOST_BYTES

    def test_belongs_to_a_test(self, path: Path) -> None:
        source = Path(__file__).with_name(f"{path.parent.name}.py")
        names = {node.name for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.FunctionDef)}
        assert path.stem in names
        assert path.suffix == ".yaml"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sk-proj-abcdefgh12345678", "a key for an API"),
        ("Authorization: Bearer abcdefgh12345678", "a bearer that is not redacted"),
        ("Basic dXNlcjpwYXNz", "a basic credential"),
        ("Set-Cookie: a=b", "a cookie"),
        ("http://127.0.0.1:80/", "an address of a machine"),
        ('File "/home/me/x.py"', "a path of a machine"),
        ("https://pypi.example/simple/", "a package index"),
        ("https://me:pw@host/", "a user and password in a URL"),
        ("0123456789abcdef0123456789abcdef01234567", "a hash"),
    ],
)
def test_the_patterns_find_what_they_are_for(text: str, what: str) -> None:
    assert re.search(FORBIDDEN[what], text)
