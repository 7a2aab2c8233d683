"""The contract of every `OrderStore`; a new implementation joins `STORES`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from order.accounts import Account
from order.books import Book
from order.journal import Journal
from order.lifecycle import Event
from order.orders import Changes, Order, Purpose
from order.schema import FILE_NAME
from order.sqlite_store import SqliteOrderStore
from order.store import OrderStore
from order.users import Limits, Sizing, SizingMethod, Terms, User
from shared.errors import RefusedBySafety, StoreError
from shared.instruments import Instruments
from shared.models import OrderState, OrderType, Product, Side

STORES: dict[str, Callable[[Path, str], OrderStore]] = {"sqlite": SqliteOrderStore}
USER = User(
    user_no=1,
    user_id="u1",
    name="Asha",
    group="g",
    profile="demo",
    limits=Limits(max_positions=7),
    subscriptions={"s": Terms(sizing=Sizing(SizingMethod.FIXED_VALUE, Decimal("1.5")), allow_short=True)},
)
RELIANCE = Instruments.load().get("RELIANCE")
KEY = (1, 2, 3, "INTRADAY", 1)


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., OrderStore]]:
    opened: list[OrderStore] = []

    def make(environment: str = "paper") -> OrderStore:
        opened.append(STORES[request.param](tmp_path, environment))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., OrderStore]) -> OrderStore:
    """A store with one user."""
    store = open_store()
    store.save_user(USER, {"user_id": "u1"}, 1, store.load().journal)
    return store


def order(signal_no: int = 1, quantity: int = 10) -> Order:
    return Order(
        signal_no,
        f"{signal_no:032x}",
        Account(USER, 1),
        0,
        Book(KEY),
        RELIANCE,
        "sim",
        Purpose.ENTRY,
        Side.BUY,
        Product.INTRADAY,
        OrderType.MARKET,
        quantity,
        250_000,
        5,
    )


def changes(journal: Journal, made: Order, seq: int = 1) -> Changes:
    """Return one taken signal with its order, at work."""
    made.apply(Event.CLAIM, 6)
    made.apply(Event.ACCEPT, 6)
    made.venue_no = seq
    made.book.quantity, made.book.cost_paise = 3, 750_000
    return Changes(
        inbox=[(made.signal_no, "g", "main", "e", seq, made.signal_id, 1, 2, 3, 1, b"payload", 5)],
        orders={id(made): made},
        fills=[(*made.key(), seq, 3, 250_000, 9, 6, 250_000, 6)],
        books={made.book.key: made.book},
        cursors={("g", "main"): ("e", seq)},
        dead_letters=[(5, "g", "main", "e", seq, "why", b"raw")],
        journal=[journal.entry(5, "signal", [made.move()])],
        names=[(1, "market", "sim"), (2, "strategy", "s"), (3, "symbol", "RELIANCE")] if seq == 1 else [],
        venue_no=seq,
        fill_no=seq,
    )


def test_empty_store_loads_empty(open_store: Callable[..., OrderStore]) -> None:
    loaded = open_store().load()
    assert (loaded.users, loaded.books, loaded.at_work, loaded.cursors) == ([], [], [], {})
    assert (loaded.signal_no, loaded.venue_no, loaded.fill_no, loaded.journal.no) == (0, 0, 0, 0)


def test_user_comes_back_as_saved(store: OrderStore) -> None:
    assert store.load().users == [USER]


def test_changed_user_takes_the_place_of_the_stored_one(store: OrderStore) -> None:
    changed = msgspec.structs.replace(USER, enabled=False, limits=Limits(), subscriptions={"t": Terms()})
    store.save_user(changed, {}, 2, store.load().journal)
    assert store.load().users == [changed]


@pytest.mark.parametrize("reopened", [False, True])
def test_commit_comes_back_whole_also_without_a_close(
    store: OrderStore, open_store: Callable[..., OrderStore], reopened: bool
) -> None:
    made = order()
    journal = store.load().journal
    store.commit(changes(journal, made))
    loaded = (open_store() if reopened else store).load()
    (stored,) = loaded.at_work
    assert stored.row == made.row()
    assert (stored.signal_id, stored.market_no, stored.strategy_no, stored.symbol_no) == (
        made.signal_id,
        1,
        2,
        3,
    )
    assert stored.payload == b"payload"
    assert [book.row() for book in loaded.books] == [made.book.row()]
    assert loaded.cursors == {("g", "main"): ("e", 1)}
    assert loaded.names == [(1, "market", "sim"), (2, "strategy", "s"), (3, "symbol", "RELIANCE")]
    assert (loaded.signal_no, loaded.venue_no, loaded.fill_no) == (1, 1, 1)
    assert (loaded.journal.no, loaded.journal.digest) == (journal.no, journal.digest)


def test_later_commit_changes_the_row_of_an_order(store: OrderStore) -> None:
    made = order()
    journal = store.load().journal
    store.commit(changes(journal, made))
    made.apply(Event.COMPLETE, 9)
    made.filled, made.value_paise, made.charges_paise = 10, 2_500_000, 7
    store.commit(Changes(orders={id(made): made}, journal=[journal.entry(9, "quotes", [])]))
    assert store.load().at_work == []
    assert store.order_state(1, 1) == (OrderState.FILLED, 10, 2_500_000, "")


@pytest.mark.parametrize("part", ["inbox", "orders", "fills", "journal", "names"])
def test_commit_that_fails_half_way_leaves_nothing(store: OrderStore, part: str) -> None:
    journal = store.load().journal
    store.commit(changes(journal, order()))
    before = store.load()
    broken = changes(journal, order(2), seq=2)
    if part == "orders":
        made = order(1)
        broken.orders[id(made)] = made
    elif part == "names":
        broken.names = [(1, "market", "again")]
    else:
        rows = getattr(broken, part)
        rows.append(rows[0])
    with pytest.raises(Exception, match=r"(?i)unique|constraint"):
        store.commit(broken)
    after = store.load()
    assert after.cursors == before.cursors
    assert (after.signal_no, after.venue_no, after.fill_no) == (1, 1, 1)
    assert [stored.row for stored in after.at_work] == [stored.row for stored in before.at_work]
    assert (after.journal.no, after.names) == (before.journal.no, before.names)
    assert store.find_signal("g", f"{2:032x}") is None


def test_signal_is_found_by_group_and_id(store: OrderStore) -> None:
    store.commit(changes(store.load().journal, order()))
    assert store.find_signal("g", f"{1:032x}") == (1, b"payload")
    assert store.find_signal("other", f"{1:032x}") is None


def test_missing_order_of_a_taken_request_is_a_damaged_store(store: OrderStore) -> None:
    with pytest.raises(StoreError, match="trading verify"):
        store.order_state(99, 1)


def test_after_answer_changes_nothing(store: OrderStore) -> None:
    store.commit(changes(store.load().journal, order()))
    store.after_answer(idle=False)
    store.after_answer(idle=True)
    assert len(store.load().at_work) == 1


@pytest.mark.parametrize(("first", "second"), [("paper", "live"), ("live", "paper"), ("proof", "paper")])
def test_store_of_another_environment_is_refused(
    open_store: Callable[..., OrderStore], first: str, second: str
) -> None:
    open_store(first)
    with pytest.raises(RefusedBySafety, match=f"'{first}' and refuses '{second}'"):
        open_store(second)
    open_store(first)


def test_sqlite_store_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    SqliteOrderStore(tmp_path, "paper").close()
    with sqlite3.connect(tmp_path / FILE_NAME) as sql:
        sql.execute("UPDATE alembic_version SET version_num = '9999'")
    sql.close()
    with pytest.raises(StoreError, match="schema 9999"):
        SqliteOrderStore(tmp_path, "paper")


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_sqlite_store_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StoreError):
        SqliteOrderStore(tmp_path, "paper")
