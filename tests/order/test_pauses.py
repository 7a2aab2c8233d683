"""The collector is off while orders are made, and on again whatever comes."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from order.pauses import without_pauses
from shared.errors import StoreError
from tests.order.conftest import Room


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """Generations that were collected meanwhile; the youngest one is collected often."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            found.append(info["generation"])

    threshold = gc.get_threshold()
    gc.collect()
    gc.set_threshold(50, 1000, 1000)
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.set_threshold(*threshold)


def test_collector_comes_back_where_it_was_on_and_only_there() -> None:
    with without_pauses():
        assert not gc.isenabled()
        with without_pauses():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_many_orders_of_one_signal_wake_no_collector(room: Room, collections: list[int]) -> None:
    for number in range(40):
        room.user(f"u{number}")
    for kind in ("BUY", "SELL", "BUY"):  # accounts and books stay, and the interpreter keeps some tuples
        room.give(kind)
    signal = room.received(room.signal("SELL"))
    collections.clear()
    room.take(signal)
    woken = collections.copy()
    assert len(room.rows()) == 160
    assert len([[] for _ in range(200)]) == 200
    assert (woken, len(collections) > 0) == ([], True)


def test_decision_that_cannot_be_written_leaves_the_collector_on(room: Room) -> None:
    room.user()
    room.store.database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        room.give("BUY")
    assert gc.isenabled()
