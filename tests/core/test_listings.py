"""What is kept of listings: for how long, how much, for whom, and where it outlives the process."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from litellm_gateway_plugin import listings as module
from litellm_gateway_plugin.catalogue import Listing
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.listings import (
    FRESH_S,
    HEADER,
    OLDEST_S,
    RETRY_S,
    SPREAD,
    DiskShelf,
    Listings,
    file_name,
    labelled,
    taken,
)
from litellm_gateway_plugin.negotiation import Ask
from tests.support.core import BASE, KEY, Clock, ask

SECRETS = (KEY, "another-key-of-somebody", "")


def listing(*ids: str) -> Listing:
    found = read_listing([{"id": name} for name in ids])
    assert found is not None
    return found


class World:
    """Two clocks, and what was told of new listings."""

    def __init__(self) -> None:
        self.clock, self.now = Clock(), Clock()
        self.told: list[tuple[Ask, Listing]] = []

    def listings(self, *shelves: Any, chance: float = 0.0, **more: Any) -> Listings:
        """A process that begins now."""
        return Listings(shelves, learnt=self.hear, clock=self.clock, now=self.now, chance=lambda: chance, **more)

    def hear(self, about: Ask, found: Listing) -> None:
        self.told.append((about, found))

    def pass_(self, seconds: float) -> None:
        self.clock.pass_(seconds)
        self.now.pass_(seconds)


@pytest.fixture
def world() -> World:
    return World()


class Shelf:
    """A shelf that counts."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str | None], tuple[bytes, float]] = {}
        self.looks = 0

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        self.looks += 1
        return self.held.get((base, key))

    def note(self, base: str, key: str | None, packed: bytes) -> None:
        self.held[base, key] = packed, 1000.0


# In this process ------------------------------------------------------------------------------------------------------


def test_a_listing_is_fresh_for_a_while_and_given_for_ever(world: World) -> None:
    kept = world.listings()
    assert (kept.find(ask()), kept.fresh(ask()), kept.settled(ask()), kept.is_due(ask())) == (None, None, None, True)
    kept.learn(ask(), listing("a"))
    assert (kept.find(ask()), kept.fresh(ask()), kept.settled(ask())) == (listing("a"),) * 3
    world.pass_(FRESH_S - 0.001)
    assert not kept.is_due(ask())
    world.pass_(0.001)
    assert kept.is_due(ask())
    assert (kept.fresh(ask()), kept.settled(ask())) == (None, None)
    world.pass_(10 * OLDEST_S)
    assert kept.find(ask()) == listing("a")


def test_the_time_is_the_operators(world: World) -> None:
    kept = world.listings(fresh_s=3.0)
    kept.learn(ask(), listing("a"))
    world.pass_(3.0)
    assert kept.is_due(ask())
    none = world.listings(fresh_s=0.0)
    none.learn(ask(), listing("a"))
    assert none.is_due(ask())


def test_a_gateway_without_a_listing_is_not_asked_again_at_once(world: World) -> None:
    kept = world.listings()
    kept.learn(ask(), Listing())
    assert kept.fresh(ask()) == Listing()
    assert world.told == []


@pytest.mark.parametrize(("passing", "seconds"), [(True, RETRY_S), (False, FRESH_S)])
def test_after_a_failure_the_old_one_stays_and_nobody_asks_for_a_while(
    world: World, passing: bool, seconds: float
) -> None:
    kept = world.listings()
    assert not kept.has_failed(ask())
    kept.learn(ask(), listing("a"))
    world.pass_(FRESH_S)
    kept.failed(ask(), passing=passing)
    assert kept.has_failed(ask())
    assert kept.settled(ask()) == kept.find(ask()) == listing("a")
    world.pass_(seconds - 0.001)
    assert not kept.is_due(ask())
    world.pass_(0.001)
    assert kept.is_due(ask())
    kept.learn(ask(), listing("a"))
    assert not kept.has_failed(ask())
    assert not kept.is_due(ask())


def test_a_failure_does_not_make_a_fresh_one_old(world: World) -> None:
    kept = world.listings()
    kept.learn(ask(), listing("a"))
    kept.failed(ask())
    world.pass_(RETRY_S)
    assert not kept.is_due(ask())


def test_a_short_time_is_that_of_failures_too(world: World) -> None:
    kept = world.listings(fresh_s=2.0)
    kept.failed(ask())
    world.pass_(2.0)
    assert kept.is_due(ask())


def test_listings_are_kept_apart_by_base_and_key(world: World) -> None:
    kept = world.listings()
    kept.learn(ask(), listing("a"))
    kept.learn(ask(key=None), listing("b"))
    kept.learn(ask(base="https://other.example.com/v1"), listing("c"))
    assert kept.find(ask()) == kept.find(ask(surface="models", model="")) == listing("a")
    assert kept.find(ask(key=None)) == listing("b")
    assert kept.find(ask(key="other")) is None
    assert kept.find(ask(base="https://other.example.com/v1")) == listing("c")


def test_the_listing_that_was_not_used_for_longest_goes_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    kept = world.listings()
    asks = [ask(base=f"https://h{number}.example.com") for number in range(5)]
    for number in range(3):
        kept.learn(asks[number], listing("a"))
    assert kept.find(asks[0])
    kept.learn(asks[3], listing("a"))
    assert [kept.find(each) is not None for each in asks[:4]] == [True, False, True, True]
    for each in asks:
        kept.failed(each)
    assert sum(kept.has_failed(each) for each in asks) == 3
    assert len(kept._missing) <= 3


def test_whoever_wants_to_know_is_told_once_of_each_content(world: World) -> None:
    kept = world.listings()
    for found in (listing("a"), listing("a"), Listing(), listing("a"), listing("a", "b"), listing("a", "b")):
        kept.learn(ask(), found)
    assert [found.ids for _, found in world.told] == [("a",), ("a",), ("a", "b")]
    assert [about.profile for about, _ in world.told] == [ask().profile] * 3


def test_many_that_learn_the_same_tell_it_once(world: World) -> None:
    kept = world.listings()
    start = threading.Barrier(20)

    def learn() -> None:
        start.wait()
        kept.learn(ask(), listing("a"))

    threads = [threading.Thread(target=learn) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.told) == 1


def test_what_this_process_knows_can_be_forgotten(world: World) -> None:
    shelf = Shelf()
    kept = world.listings(shelf)
    kept.learn(ask(), listing("a"))
    kept.failed(ask())
    kept.forget()
    assert not kept.has_failed(ask())
    assert kept.find(ask()) == listing("a")  # from the shelf
    shelf.held.clear()
    kept.forget()
    assert kept.find(ask()) is None


def test_after_a_fork_the_lock_is_free(world: World) -> None:
    kept = world.listings()
    kept._lock.acquire()
    kept.after_fork()
    kept.learn(ask(), listing("a"))
    assert kept.find(ask()) == listing("a")


# On a shelf -----------------------------------------------------------------------------------------------------------


def test_a_shelf_is_read_once_whether_or_not_it_has_something(world: World) -> None:
    shelf = Shelf()
    kept = world.listings(shelf)
    for _ in range(3):
        assert kept.find(ask()) is None
        assert kept.fresh(ask()) is None
    assert shelf.looks == 1
    kept.learn(ask(), listing("a"))
    assert shelf.looks == 1
    another = world.listings(shelf)
    assert [another.find(ask()), another.find(ask())] == [listing("a")] * 2
    assert shelf.looks == 2


def test_what_was_forgotten_for_want_of_room_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 1)
    kept = world.listings(Shelf())
    other = ask(base="https://other.example.com")
    assert kept.find(ask()) is None
    kept.learn(ask(), listing("a"))
    kept.learn(other, listing("b"))
    assert kept.find(ask()) == listing("a")


def test_what_is_on_a_shelf_is_as_old_as_it_is(world: World) -> None:
    shelf = Shelf()
    world.listings(shelf).learn(ask(), listing("a"))
    world.now.pass_(FRESH_S - 1)
    later = world.listings(shelf)
    assert later.fresh(ask()) == listing("a")
    world.pass_(1)
    assert later.is_due(ask())
    old = world.listings(shelf)
    assert old.find(ask()) == listing("a")
    assert old.is_due(ask())


def test_many_that_have_it_from_a_shelf_do_not_read_it_anew_together(world: World) -> None:
    shelf = Shelf()
    reader = world.listings(shelf)
    reader.learn(ask(), listing("a"))
    others = [world.listings(shelf, chance=chance) for chance in (0.1, 1.0)]
    for other in others:
        other.find(ask())
    world.pass_(FRESH_S)
    assert [each.is_due(ask()) for each in (reader, *others)] == [True, False, False]
    world.pass_(0.1 * SPREAD * FRESH_S)
    assert [each.is_due(ask()) for each in others] == [True, False]
    world.pass_(0.9 * SPREAD * FRESH_S)
    assert [each.is_due(ask()) for each in others] == [True, True]


def test_what_another_process_has_read_need_not_be_read_again(world: World) -> None:
    shelf = Shelf()
    reader, other = world.listings(shelf), world.listings(shelf)
    reader.learn(ask(), listing("a"))
    assert other.recall_newer(ask()) == listing("a")
    assert len(world.told) == 2
    world.pass_(FRESH_S)
    assert other.is_due(ask())
    assert other.recall_newer(ask()) is None  # it is as old as one's own
    assert other.find(ask()) == listing("a")
    shelf.held[BASE, KEY] = listing("a", "b").packed, world.now()
    assert other.recall_newer(ask()) == listing("a", "b") == other.fresh(ask())
    shelf.held[BASE, KEY] = listing("a", "b").packed, world.now()
    other.recall_newer(ask())
    assert len(world.told) == 3


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e300])
def test_a_clock_that_was_wrong_makes_nothing_fresh_for_ever(world: World, moment: float) -> None:
    shelf = Shelf()
    shelf.held[BASE, KEY] = listing("a").packed, moment
    kept = world.listings(shelf)
    assert kept.recall_newer(ask()) is None
    assert kept.find(ask()) == listing("a")
    assert kept.is_due(ask())


def test_the_nearest_shelf_that_has_something_is_taken_and_all_are_told(world: World) -> None:
    near, far = Shelf(), Shelf()
    near.held[BASE, KEY] = b"broken", 1000.0
    far.held[BASE, KEY] = listing("a").packed, 1000.0
    kept = world.listings(near, far)
    assert kept.find(ask()) == listing("a")
    kept.learn(ask(), listing("b"))
    assert near.held == far.held == {(BASE, KEY): (listing("b").packed, 1000.0)}
    kept.learn(ask(), Listing())
    assert near.held == {(BASE, KEY): (listing("b").packed, 1000.0)}


def test_a_shelf_with_nothing_on_it_is_no_listing(world: World) -> None:
    shelf = Shelf()
    shelf.held[BASE, KEY] = listing().packed, 1000.0
    kept = world.listings(shelf)
    assert (kept.find(ask()), kept.recall_newer(ask())) == (None, None)


def test_two_that_look_at_the_same_time_have_one_listing(world: World) -> None:
    class Meanwhile(Shelf):
        def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
            kept.learn(ask(), listing("new"))
            return listing("old").packed, 1000.0

    kept = world.listings(Meanwhile())
    assert kept.find(ask()) == listing("new")
    assert [found.ids for _, found in world.told] == [("new",)]


# On disk --------------------------------------------------------------------------------------------------------------


def test_a_listing_outlives_the_process(tmp_path: Path, world: World) -> None:
    folder = tmp_path / "new" / "folder"
    first = DiskShelf(folder, world.now)
    assert first.recall(BASE, KEY) is None
    world.listings(first).learn(ask(), listing("a"))
    (path,) = (folder / "listings").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    world.now.pass_(5.4)
    second = DiskShelf(folder, world.now)
    assert second.recall(BASE, KEY) == (listing("a").packed, 1000.0)
    assert world.listings(second).fresh(ask()) == listing("a")
    assert "litellm-gateway-plugin" in str(DiskShelf().folder)


def test_a_name_tells_little_and_keeps_keys_apart(tmp_path: Path) -> None:
    shelf = DiskShelf(tmp_path)
    base = "https://user-part.example.com/v1?token=in-the-query"
    for key in (*SECRETS, None):
        shelf.note(base, key, listing(f"for {key}").packed)
    names = [path.name for path in shelf.folder.iterdir()]
    assert len(names) == 4
    assert len({name.partition("-")[0] for name in names}) == 1
    assert {len(name) for name in names} == {24 + 1 + 4}  # sixteen bits of the key are no key
    assert not any(word in name for name in names for word in ("example", "query", *SECRETS[:2]))
    for key in (*SECRETS, None):
        found = shelf.recall(base, key)
        assert found is not None
        assert found[0] == listing(f"for {key}").packed
    content = b"".join(path.read_bytes() for path in shelf.folder.iterdir())
    assert KEY.encode() not in content


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        (b"", 1), (b"\n", 1), (b"[]", 1), (b"1000\n" + listing("a").packed, 1), (HEADER, 1), (HEADER + b"\nx", 1),
        (HEADER + b"soon\nx", 1), (HEADER + b"1" * 200 + b"\n" + listing("a").packed, 1), (b"\xff" * 1000, 1),
        (HEADER + b"nan\n" + listing("a").packed, 0), (labelled(b"", 1000.0), 0), (labelled(b"not zlib", 1000.0), 0),
        (labelled(listing("a").packed, 1000.0)[:-4], 0), (labelled(listing("a").packed, 1000.0 - OLDEST_S), 0),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_warning_at_most(
    tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture, content: bytes, warnings: int
) -> None:
    shelf = DiskShelf(tmp_path, world.now)
    shelf.folder.mkdir()
    path = shelf.folder / file_name(BASE, KEY)
    path.write_bytes(content)
    assert world.listings(shelf).find(ask()) is None
    shelf.recall(BASE, KEY)
    assert len(caplog.records) == warnings
    world.listings(shelf).learn(ask(), listing("b"))
    assert world.listings(shelf).find(ask()) == listing("b")
    assert str(tmp_path) not in caplog.text


def test_a_label_names_the_second() -> None:
    assert taken(labelled(b"a\nb", 1234.4)) == (b"a\nb", 1234.0)


def test_what_is_too_large_is_neither_written_nor_read(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = DiskShelf(tmp_path, world.now)
    shelf.note(BASE, KEY, listing("a").packed)
    monkeypatch.setattr(module, "MOST_BYTES", len(labelled(listing("a").packed, 1000.0)) - 1)
    assert world.listings(shelf).find(ask()) is None  # cut, and so no listing
    shelf.note(BASE, None, listing("a").packed)
    assert len(list(shelf.folder.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_one_warning(
    tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    shelf = DiskShelf(tmp_path / "file", world.now)
    kept = world.listings(shelf)
    for name in ("a", "b", "c"):
        kept.learn(ask(), listing(name))
    assert kept.find(ask()) == listing("c")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NotADirectoryError" in caplog.text


def test_something_else_under_the_name_is_one_warning(
    tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = DiskShelf(tmp_path, world.now)
    (shelf.folder / file_name(BASE, KEY)).mkdir(parents=True)
    kept = world.listings(shelf)
    assert kept.find(ask()) is None
    kept.learn(ask(), listing("a"))
    assert kept.find(ask()) == listing("a")
    assert len(caplog.records) == 1
    assert [path.is_dir() for path in shelf.folder.iterdir()] == [True]  # nothing is left of the attempt


def test_there_are_so_many_files_at_most_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ON_DISK", 3)
    shelf = DiskShelf(tmp_path)
    bases = [f"https://h{number}.example.com" for number in range(5)]
    for number, base in enumerate(bases):
        shelf.note(base, KEY, listing("a").packed)
        os.utime(shelf.folder / file_name(base, KEY), (number, number))
    assert [shelf.recall(base, KEY) is not None for base in bases] == [False, False, True, True, True]


def test_two_processes_may_tidy_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ON_DISK", 1)
    shelf = DiskShelf(tmp_path)
    shelf.note(BASE, KEY, listing("a").packed)
    sort = lambda paths, key: [tmp_path / "gone", *sorted(paths, key=key)]  # noqa: E731  what the other was faster with
    monkeypatch.setattr(module, "sorted", sort, raising=False)
    shelf.note(BASE, None, listing("a").packed)
    assert module._written_at(tmp_path / "gone") == 0.0
    assert len(list(shelf.folder.iterdir())) == 1


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    shelf = DiskShelf(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        shelf.note(BASE, KEY, b"x")
    assert list(shelf.folder.iterdir()) == []
