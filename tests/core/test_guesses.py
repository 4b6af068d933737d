from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from litellm_gateway_plugin import guesses as module
from litellm_gateway_plugin.guesses import DiskGuesses
from litellm_gateway_plugin.plan import Route

BASE, SURFACE = "https://h.example/v1", "chat/completions"
ROUTE = Route("x-api-key", True)


def test_a_route_outlives_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    first = DiskGuesses(folder)
    assert first.recall(BASE, SURFACE) is None
    first.note(BASE, SURFACE, ROUTE)
    assert first.recall(BASE, SURFACE) == ROUTE
    second = DiskGuesses(folder)
    assert second.recall(BASE, SURFACE) == ROUTE
    assert second.recall(BASE, "embeddings") is None
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["guesses.json"]


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    kept = DiskGuesses(tmp_path)
    kept.note(BASE, SURFACE, ROUTE)
    kept.path.unlink()
    kept.note(BASE, SURFACE, ROUTE)
    assert not kept.path.exists()


def test_two_processes_keep_each_others_guesses(tmp_path: Path) -> None:
    first, second = DiskGuesses(tmp_path), DiskGuesses(tmp_path)
    first.note(BASE, SURFACE, ROUTE)
    second.note(BASE, "embeddings", Route("raw"))
    assert DiskGuesses(tmp_path).recall(BASE, SURFACE) == ROUTE


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    kept = DiskGuesses(tmp_path)
    for number in range(5):
        kept.note(f"https://h{number}", SURFACE, ROUTE)
    assert len(json.loads(kept.path.read_text())["guesses"]) == 3
    assert kept.recall("https://h4", SURFACE) == ROUTE
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert DiskGuesses(tmp_path).recall("https://h4", SURFACE) is None


@pytest.mark.parametrize(
    ("content", "warned"),
    [
        ("", 1), ("[]", 1), ("{", 1), ('{"format": 1}', 1), ('{"format": 1, "guesses": []}', 1), ("\ufffd" * 10, 1),
        ('{"format": 2, "guesses": {}}', 0), ('{"format": 1, "guesses": {"x": 1}}', 0),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, warned: int
) -> None:
    (tmp_path / "guesses.json").write_text(content)
    kept = DiskGuesses(tmp_path)
    assert kept.recall(BASE, SURFACE) is None
    kept.note(BASE, SURFACE, ROUTE)
    assert kept.recall(BASE, SURFACE) == ROUTE
    assert len(caplog.records) == warned


@pytest.mark.parametrize(
    "entry", [1, {}, {"style": 3}, {"style": "host"}, {"style": "a\r\nb"}, {"style": "raw", "toggled": "yes"}]
)
def test_an_entry_that_is_no_route_is_none(tmp_path: Path, entry: Any) -> None:
    name = f"{BASE}|{SURFACE}"
    (tmp_path / "guesses.json").write_text(json.dumps({"format": 1, "guesses": {name: entry}}))
    assert DiskGuesses(tmp_path).recall(BASE, SURFACE) is None


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = DiskGuesses(tmp_path / "file")
    for surface in (SURFACE, "embeddings"):
        kept.note(BASE, surface, ROUTE)
    assert kept.recall(BASE, SURFACE) == ROUTE or kept.recall(BASE, "embeddings") == ROUTE
    assert len(caplog.records) == 1


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dump", interrupted)
    with pytest.raises(KeyboardInterrupt):
        DiskGuesses(tmp_path).note(BASE, SURFACE, ROUTE)
    assert list(tmp_path.iterdir()) == []


def test_after_a_fork_the_lock_is_free(tmp_path: Path) -> None:
    kept = DiskGuesses(tmp_path)
    kept._lock.acquire()
    kept.after_fork()
    kept.note(BASE, SURFACE, ROUTE)
    assert "litellm-gateway-plugin" in str(DiskGuesses().path)
