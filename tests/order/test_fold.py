"""Every row and every column: what is changed, removed or added behind the system's back is found."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import apsw
import pytest

from order.fold import NOT_COMPARED, Fold, Table
from order.journal import Journal
from order.record import BASE, VERSION, pack
from order.sql_store import KEPT_TABLES
from order.users import Terms
from shared.errors import StoreError
from tests.order.conftest import Room
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, price, row

NOT_KEPT = {
    "journal": "it is the chain itself",
    "writers": "who writes now is no part of the books",
    "alembic_version": "a store of another version is refused",
}
"""Tables that no row of the journal tells of, with the reason."""


@pytest.fixture
def full(room: Room) -> Room:
    """A room in which every table has rows, some of them written more than once."""
    room.user("u1")
    room.user("u2", shares=3)
    room.user("u2", subscriptions={"other": Terms(), "s": Terms()})
    room.user("u2", shares=4)
    wire = room.user("far", broker="wire", strategy="f")
    for kind in ("BUY", "SELL", "BUY", "REVERSE"):
        room.give(kind)
        room.later(60)
    room.give("BUY", "SBIN", "600", stop=Decimal(590))
    room.take(room.poison())
    room.direct(quantity=7)
    room.direct(order_type="SL_LIMIT", side="SELL", price=2400, trigger_price=2410, quantity=3)
    room.armed[wire.user_no] = True
    room.board.run = FAR_RUN
    price(room)
    order = send_far(room)
    report_far(room, order.tag, wire.user_no, filled=4)
    room.later(2)
    price(room)
    for amendment in room.books.steps(wire.user_no)[0]:
        assert room.books.claim_amendment(wire.user_no, amendment.tag, amendment.number)
    room.books.close_days(final=True)
    for day in ("2000-01-03", "2000-01-04"):
        room.books.note_account(wire.user_no, "armed", "day", day)
    assert room.audit().findings == []
    return room


def send_far(room: Room) -> Any:
    (order,) = room.take(room.received(room.signal("BUY", run=FAR_RUN, strategy="f")))
    assert room.books.claim(order)
    return order


def report_far(room: Room, tag: str, user_no: int, filled: int) -> None:
    room.books.report(user_no, book(room.clock.now_us(), row(tag, filled=filled)))


def connection(room: Room) -> apsw.Connection:
    found = room.store.database.connection
    assert isinstance(found, apsw.Connection)
    return found


def table_names(room: Room) -> set[str]:
    found = room.query("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {str(name) for (name,) in found}


def damages(table: Table) -> Iterator[str]:
    """Yield a change of each column of the first and the last row, a removed row, an added row."""
    name, key = table.name, ", ".join(table.key)
    for which in ("ASC", "DESC"):
        order = ", ".join(f"{column} {which}" for column in table.key)
        where = f"({key}) = (SELECT {key} FROM {name} ORDER BY {order} LIMIT 1)"
        for column, kind in zip(table.columns, table.types, strict=True):
            other = "+ 1000003" if "INT" in kind.upper() else "|| 'x'"
            yield f"UPDATE {name} SET {column} = coalesce({column} {other}, 7) WHERE {where}"
        yield f"DELETE FROM {name} WHERE {where}"
    unique = {*table.key, "tag", "user_id", "name", "signal_id"}
    values = [
        column if column not in unique else f"{column} + 1000003" if "INT" in kind else f"{column} || 'x'"
        for column, kind in zip(table.columns, table.types, strict=True)
    ]
    yield f"INSERT INTO {name} SELECT {', '.join(values)} FROM {name} LIMIT 1"


@pytest.mark.parametrize("name", KEPT_TABLES)
def test_any_damage_to_a_table_is_found(full: Room, name: str) -> None:
    sql = connection(full)
    sql.execute("PRAGMA foreign_keys = OFF")
    table = Table.read(sql, name)
    unnoticed = []
    for damage in damages(table):
        sql.execute("BEGIN")
        sql.execute(damage)
        assert sql.changes() == 1, damage
        found = full.audit()
        if not found.unexplained or not any(name in line for line in found.findings):
            unnoticed.append(damage)
        sql.execute("ROLLBACK")
    assert unnoticed == []
    assert full.audit().findings == []


def test_any_damage_to_the_journal_is_found(full: Room) -> None:
    sql = connection(full)
    table = Table.read(sql, "journal")
    unnoticed = []
    for damage in damages(table):
        sql.execute("BEGIN")
        sql.execute(damage)
        if full.audit().clean:
            unnoticed.append(damage)
        sql.execute("ROLLBACK")
    assert unnoticed == []


def test_journal_that_was_emptied_is_found(full: Room) -> None:
    connection(full).execute("DELETE FROM journal")
    assert "unexplained: journal: it is empty, and the tables have rows" in full.audit().findings


def test_user_whose_limits_are_damaged_is_one_message(full: Room) -> None:
    connection(full).execute("UPDATE users SET limits = '{' WHERE user_id = 'u2'")
    with pytest.raises(StoreError, match="the limits of u2 cannot be read"):
        full.open()


def test_two_entries_of_the_journal_that_changed_places_are_found(full: Room) -> None:
    sql = connection(full)
    for old, new in ((5, -5), (6, 5), (-5, 6)):
        sql.execute("UPDATE journal SET no = ? WHERE no = ?", (new, old))
    assert not full.audit().clean


def test_every_table_is_kept_or_has_a_reason_and_rows_to_show_it(full: Room) -> None:
    assert table_names(full) == {*KEPT_TABLES, *NOT_KEPT}
    empty = [name for name in KEPT_TABLES if full.query(f"SELECT count(*) FROM {name}") == [(0,)]]
    assert empty == []


def test_column_that_is_not_compared_has_a_reason() -> None:
    assert all(NOT_COMPARED.values())


def test_finding_names_row_column_and_both_values(full: Room) -> None:
    connection(full).execute("UPDATE fills SET price_paise = 5 WHERE fill_no = 1")
    (line,) = [each for each in full.audit().findings if "fills:" in each]
    assert "fill_no 1 was changed: price_paise is 5, written as 250" in line


def test_store_from_before_rows_were_journaled_is_taken_over_at_the_next_start(room: Room) -> None:
    room.user()
    room.give("BUY")
    sql = connection(room)
    journal = Journal("order")
    entry = journal.entry(1, "user", {"user_id": "u1"})
    sql.execute("DELETE FROM journal")
    sql.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", (entry.writer, *old(entry)))
    assert room.audit().findings == []
    room.open()
    assert room.audit().findings == []
    assert (BASE,) in room.query("SELECT DISTINCT kind FROM journal")
    connection(room).execute("UPDATE orders SET quantity = 11")
    assert room.audit().unexplained > 0
    room.open()
    assert room.audit().unexplained > 0, "a start must not make damage good"


def old(entry: Any) -> tuple[object, ...]:
    return (entry.no, entry.at_us, entry.kind, entry.body, entry.digest)


def test_row_from_before_a_column_was_there_has_its_default() -> None:
    sql = apsw.Connection("")
    sql.execute("CREATE TABLE t (no INTEGER PRIMARY KEY, a BIGINT NOT NULL, b TEXT NOT NULL DEFAULT 'none')")
    sql.execute("INSERT INTO t VALUES (1, 5, 'none'), (2, 6, 'some')")
    fold = Fold.beside(sql, ["t"])
    journal = Journal("order")
    for rows in ([(1, 5)], [(2, 6, "some")]):
        fold.take(journal.entry(1, BASE, [VERSION, "t", pack(rows)]))
    assert list(fold.differences("t")) == []


def test_more_damage_than_is_told_of_is_counted(room: Room) -> None:
    room.user()
    for _ in range(30):
        room.give("BUY")
        room.later(60)
    connection(room).execute("UPDATE inbox SET seq = seq + 1")
    found = room.audit()
    assert found.unexplained >= 30
    assert any("10 more rows differ" in line for line in found.findings)
