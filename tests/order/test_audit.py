from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from order.audit import OutboxRow, audit

if TYPE_CHECKING:
    from tests.order.conftest import Room


@pytest.fixture
def busy(room: Room) -> Room:
    """A room with two users, a round trip, a reversal, refusals and a direct order."""
    room.user("u1")
    room.user("u2", shares=3)
    for kind in ("BUY", "SELL", "BUY", "REVERSE", "REVERSE", "ENTER_LONG"):
        room.give(kind)
        room.later(60)
    room.give("BUY", "NOSUCH", "10")
    room.direct(quantity=7)
    return room


def test_store_as_the_system_left_it_is_clean(busy: Room) -> None:
    found = busy.audit()
    assert (found.findings, found.clean) == ([], True)
    assert (found.signals, found.direct_orders, found.pending) == (7, 1, 0)
    assert found.intents == 7 * 2 + 2 * 2  # reversals have two legs
    assert found.fills == found.broker_orders
    assert found.fills == busy.query("SELECT count(*) FROM fills")[0][0]


def test_empty_store_is_clean(room: Room) -> None:
    assert room.audit().clean


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("lost", "DELETE FROM orders WHERE signal_no = 1 AND user_no = 2"),
        ("lost", "DELETE FROM orders WHERE signal_no = 7 AND user_no = 1"),
        ("lost", "DELETE FROM inbox WHERE signal_no = 2"),
        ("lost", "UPDATE inbox SET subscribers = subscribers + 1 WHERE signal_no = 3"),
        ("unexplained", "UPDATE inbox SET subscribers = subscribers - 1 WHERE signal_no = 3"),
        ("unexplained", "DELETE FROM inbox WHERE signal_no = 8"),
        ("unexplained", "DELETE FROM orders WHERE signal_no = 4 AND leg = 1"),
        ("unexplained", "UPDATE orders SET filled = filled + 1 WHERE signal_no = 1 AND user_no = 1"),
        (
            "unexplained",
            "UPDATE orders SET value_paise = value_paise + 1 WHERE signal_no = 1 AND user_no = 1",
        ),
        ("unexplained", "UPDATE orders SET venue_no = NULL WHERE signal_no = 1 AND user_no = 1"),
        ("unexplained", "UPDATE orders SET state = 'REFUSED' WHERE signal_no = 1 AND user_no = 1"),
        ("unexplained", "UPDATE fills SET quantity = quantity + 1 WHERE fill_no = 1"),
        ("unexplained", "UPDATE fills SET price_paise = price_paise + 5 WHERE fill_no = 1"),
        ("unexplained", "UPDATE fills SET charges_paise = charges_paise - 1 WHERE fill_no = 3"),
        ("unexplained", "DELETE FROM fills WHERE fill_no = 2"),
        ("unexplained", "UPDATE books SET quantity = quantity + 1 WHERE user_no = 1"),
        ("unexplained", "UPDATE books SET realised_paise = realised_paise + 1 WHERE user_no = 1"),
        ("unexplained", "DELETE FROM books WHERE user_no = 2"),
        ("unexplained", "INSERT INTO books VALUES (1, 2, 3, 'DELIVERY', 1, 'FLAT', 5, 5, 0, 0, 0, 0, 0)"),
        ("unexplained", "UPDATE journal SET body = x'90' WHERE no = 4"),
        ("unexplained", "DELETE FROM journal WHERE no = 4"),
        ("unexplained", "UPDATE meta SET value = value + 1 WHERE key = 'paper_venue_no'"),
        (
            "duplicate",
            "UPDATE orders SET venue_no ="
            " (SELECT venue_no FROM orders WHERE signal_no = 1 AND user_no = 1 AND leg = 0)"
            " WHERE signal_no = 1 AND user_no = 2",
        ),
    ],
)
def test_damage_is_found(busy: Room, kind: str, damage: str) -> None:
    busy.store.database.connection.execute("PRAGMA foreign_keys=OFF")
    busy.store.database.connection.execute(damage)
    found = busy.audit()
    assert getattr(found, kind) > 0, found
    assert found.findings
    assert not found.clean


def test_refused_order_of_a_second_leg_that_is_gone_is_found(room: Room) -> None:
    room.user()
    room.give("BUY")
    room.user(max_entries_day=1)
    room.give("REVERSE")
    room.store.database.connection.execute("DELETE FROM orders WHERE leg = 1")
    assert room.audit().unexplained == 1


def test_order_changed_against_the_journal_is_found(busy: Room) -> None:
    (no,) = busy.query("SELECT signal_no FROM orders WHERE state = 'REFUSED' LIMIT 1")[0]
    busy.store.database.connection.execute("UPDATE orders SET state = 'EXPIRED' WHERE signal_no = ?", (no,))
    assert busy.audit().unexplained > 0


def test_signal_below_the_cursor_that_was_never_taken_is_lost(busy: Room) -> None:
    busy.received(busy.signal("BUY"))  # in the outbox, never taken
    assert (busy.audit().lost, busy.audit().pending) == (0, 1)
    busy.give("SELL")
    found = busy.audit()
    assert (found.lost, found.pending) == (1, 0)
    assert "passed over by group default" in found.findings[0]


def test_signal_before_a_group_joined_at_the_head_is_not_lost(room: Room) -> None:
    room.user()
    for _ in range(3):
        room.received(room.signal("BUY"))
    room.books.move_cursor("default", "main", "epoch", 3)
    room.give("BUY")
    assert (room.audit().lost, room.audit().pending) == (0, 0)


def test_dead_letter_of_an_older_epoch_is_no_loss(room: Room) -> None:
    room.user()
    room.books.move_cursor("default", "main", "epoch", 0)
    bad = room.poison()
    signal_id = room.outbox[0].signal_id
    room.take(type(bad)(bad.engine, bad.epoch, bad.seq, type(bad.poison)("price", signal_id.encode())))
    room.books.move_cursor("default", "main", "newer", 1)
    assert audit(room.store.database, "main", "newer", room.outbox).lost == 0


def test_dead_letter_in_an_older_epoch_hides_no_other_signal(room: Room) -> None:
    room.user()
    room.books.move_cursor("default", "main", "epoch", 0)
    room.take(room.poison())
    room.books.move_cursor("default", "main", "newer", 1)
    other = [OutboxRow(1, "f" * 32)]
    assert audit(room.store.database, "main", "newer", other).lost == 1


def test_signals_that_nobody_has_listened_to_are_pending(room: Room) -> None:
    room.received(room.signal("BUY"))
    assert (room.audit().pending, room.audit().clean) == (1, True)


def test_findings_are_capped_and_counts_are_not(busy: Room) -> None:
    outbox = [OutboxRow(number, f"{number:032x}") for number in range(1, 8)] * 20
    found = audit(busy.store.database, "main", "epoch", outbox)
    assert (len(found.findings), found.lost) == (50, 140)


def test_signal_that_is_gone_from_the_end_of_the_outbox_is_found(busy: Room) -> None:
    del busy.outbox[-1]
    found = busy.audit()
    assert (found.unexplained, found.lost) == (1, 0)
    assert "the outbox ends at 6" in found.findings[0]


def test_signal_taken_that_the_outbox_never_had_is_found(busy: Room) -> None:
    busy.outbox[3] = OutboxRow(4, "f" * 32)
    found = busy.audit()
    assert (found.lost, found.unexplained) == (1, 1)
    assert any("not in the outbox" in line for line in found.findings)


def test_value_that_cannot_be_read_ends_no_proof(busy: Room) -> None:
    busy.store.database.connection.execute("UPDATE orders SET side = 'SIDEWAYS' WHERE signal_no = 1")
    found = busy.audit()
    assert any("books cannot be read" in line for line in found.findings)
    assert any("side is 'SIDEWAYS', written as 'BUY'" in line for line in found.findings)
