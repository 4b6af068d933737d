"""Which connections are kept. With stand-ins: real ones take a minute to expire."""

from __future__ import annotations

import httpcore

from litellm_gateway_plugin.wire.pools import KEPT_CONNECTIONS, Shelf

HERE = httpcore.Origin(b"https", b"here", 443)
THERE = httpcore.Origin(b"https", b"there", 443)


class Connection:
    def __init__(self) -> None:
        self.expired = False
        self.idle = True

    def has_expired(self) -> bool:
        return self.expired

    def is_idle(self) -> bool:
        return self.idle


def shelf_with(*connections: Connection) -> Shelf[Connection]:
    shelf: Shelf[Connection] = Shelf(set())
    for connection in connections:
        shelf.give(HERE, connection, [])
    return shelf


def test_last_in_is_first_out_and_only_for_its_origin() -> None:
    old, new = Connection(), Connection()
    shelf = shelf_with(old, new)
    assert shelf.take(THERE, []) is None
    assert [shelf.take(HERE, []), shelf.take(HERE, []), shelf.take(HERE, [])] == [new, old, None]


def test_one_in_use_is_held_until_it_is_given_back() -> None:
    connection = Connection()
    shelf = shelf_with(connection)
    shelf.take(HERE, [])
    assert shelf.busy == {connection}
    shelf.give(HERE, connection, [])
    assert shelf.busy == set()


def test_expired_one_is_passed_over_and_closed() -> None:
    good, bad = Connection(), Connection()
    shelf, dead = shelf_with(good, bad), list[Connection]()
    bad.expired = True
    assert shelf.take(HERE, dead) is good
    assert dead == [bad]


def test_one_that_is_not_idle_is_closed() -> None:
    connection, dead = Connection(), list[Connection]()
    connection.idle = False
    shelf_with().give(HERE, connection, dead)
    assert dead == [connection]


def test_sweep_takes_the_expired_of_every_origin() -> None:
    old, older, young = Connection(), Connection(), Connection()
    shelf, dead = shelf_with(older, old, young), list[Connection]()
    old.expired = older.expired = True
    shelf.sweep(dead)
    assert dead == [older, old]
    assert shelf.take(HERE, []) is young


def test_number_that_is_kept_is_limited() -> None:
    connections = [Connection() for _ in range(KEPT_CONNECTIONS)]
    shelf, dead = shelf_with(*connections), list[Connection]()
    shelf.give(HERE, Connection(), dead)
    assert dead == connections[:1]


def test_closed_shelf_keeps_nothing() -> None:
    connection, dead = Connection(), list[Connection]()
    shelf = shelf_with(connection)
    assert shelf.close() == [connection]
    shelf.give(HERE, connection, dead)
    assert dead == [connection]
