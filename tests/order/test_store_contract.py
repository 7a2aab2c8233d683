"""The contract of every `OrderStore`; a new implementation joins `STORES`."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
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
from order.sql_store import SqlOrderStore
from order.stores import PostgresOrderStore, SqliteOrderStore
from order.users import Limits, Sizing, SizingMethod, Terms, User
from shared.errors import ConfigurationError, LockHeld, RefusedBySafety, StoreError
from shared.instruments import Instruments
from shared.models import OrderState, OrderType, Product, Side

STORES = ("sqlite", "postgres")
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
PAYLOAD = b'\x00\xff {"quote": "\\"}'
PROJECT = Path(__file__).resolve().parents[2]


def test_trying_a_store_out_leaves_nothing_and_shows_that_it_cannot_be_written(
    open_store: Callable[..., SqlOrderStore],
) -> None:
    store = open_store()
    before = list(store.database.connection.execute("SELECT * FROM meta ORDER BY key"))
    for _ in range(2):
        store.try_out()
    assert list(store.database.connection.execute("SELECT * FROM meta ORDER BY key")) == before
    sqlite = isinstance(store, SqliteOrderStore)
    store.database.connection.execute(
        "PRAGMA query_only = 1" if sqlite else "SET default_transaction_read_only = on"
    )
    with pytest.raises(StoreError):
        store.try_out()


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., SqlOrderStore]]:
    """Opens the store as a new process would, after the end of the one before."""
    opened: list[SqlOrderStore] = []
    url = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""

    def make(environment: str = "paper") -> SqlOrderStore:
        if url:
            if opened:
                opened[-1].close()  # a database lets no second writer of a group in
            opened.append(PostgresOrderStore(url, environment, "g"))
        else:
            opened.append(SqliteOrderStore(tmp_path, environment))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def eventually(opening: Callable[[], SqlOrderStore]) -> SqlOrderStore:
    """Open the store once the server has noticed that its owner is gone."""
    give_up = time.monotonic() + 20
    while True:
        try:
            return opening()
        except LockHeld:
            assert time.monotonic() < give_up
            threading.Event().wait(0.02)


@pytest.fixture
def store(open_store: Callable[..., SqlOrderStore]) -> SqlOrderStore:
    """A store with one user."""
    store = open_store()
    store.save_user(user(store), {"user_id": "u1"}, 1, store.load().journal)
    return store


def user(store: SqlOrderStore) -> User:
    return msgspec.structs.replace(USER, user_no=store.writer.base + 1)


def order(store: SqlOrderStore, number: int = 1, quantity: int = 10) -> Order:
    base = store.writer.base
    return Order(
        base + number,
        f"{number:032x}",
        Account(user(store), base + 1),
        0,
        Book((base + 1, base + 2, base + 3, "INTRADAY", base + 1)),
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


def names(store: SqlOrderStore) -> list[tuple[int, str, str]]:
    base = store.writer.base
    return [(base + 1, "market", "sim"), (base + 2, "strategy", "s"), (base + 3, "symbol", "RELIANCE")]


def changes(store: SqlOrderStore, journal: Journal, made: Order, seq: int = 1) -> Changes:
    """Return one taken signal with its order, at work."""
    base = store.writer.base
    made.apply(Event.CLAIM, 6)
    made.apply(Event.ACCEPT, 6)
    made.venue_no = base + seq
    made.book.quantity, made.book.cost_paise = 3, 750_000
    market, strategy, symbol, _, _ = made.book.key
    return Changes(
        inbox=[
            (made.signal_no, "g", "main", "e", seq, made.signal_id, market, strategy, symbol, 1, PAYLOAD, 5)
        ],
        orders={id(made): made},
        fills=[(*made.key(), base + seq, 3, 250_000, 9, 6, 250_000, 6)],
        books={made.book.key: made.book},
        cursors={("g", "main"): ("e", seq)},
        dead_letters=[(5, "g", "main", "e", seq, "why", b"raw")],
        journal=[journal.entry(5, "signal", [made.move()])],
        names=names(store) if seq == 1 else [],
        venue_no=base + seq,
        fill_no=base + seq,
        writer=store.writer,
    )


def counters(store: SqlOrderStore) -> tuple[int, int, int]:
    """Return how many signals, venue orders and fills the store has numbered."""
    loaded, base = store.load(), store.writer.base
    return loaded.signal_no - base, loaded.venue_no - base, loaded.fill_no - base


def test_empty_store_loads_empty(open_store: Callable[..., SqlOrderStore]) -> None:
    store = open_store()
    loaded = store.load()
    assert (loaded.users, loaded.books, loaded.at_work, loaded.cursors) == ([], [], [], {})
    assert (counters(store), loaded.journal.no) == ((0, 0, 0), 0)


def test_user_comes_back_as_saved(store: SqlOrderStore) -> None:
    assert store.load().users == [user(store)]


def test_changed_user_takes_the_place_of_the_stored_one(store: SqlOrderStore) -> None:
    changed = msgspec.structs.replace(
        user(store), enabled=False, limits=Limits(), subscriptions={"t": Terms()}, family="rao",
        algo_id="A-1",
    )  # fmt: skip
    store.save_user(changed, {}, 2, store.load().journal)
    assert store.load().users == [changed]


def test_user_id_is_given_once(store: SqlOrderStore) -> None:
    twin = msgspec.structs.replace(user(store), user_no=store.writer.base + 2)
    with pytest.raises(ConfigurationError, match="already"):
        store.save_user(twin, {}, 2, store.load().journal)
    assert store.load().users == [user(store)]


@pytest.mark.parametrize("reopened", [False, True])
def test_commit_comes_back_whole_also_without_a_close(
    store: SqlOrderStore, open_store: Callable[..., SqlOrderStore], reopened: bool
) -> None:
    made = order(store)
    journal = store.load().journal
    store.commit(changes(store, journal, made))
    if reopened:
        store = open_store()
    loaded = store.load()
    (stored,) = loaded.at_work
    assert stored.row == made.row()
    assert stored.signal_id == made.signal_id
    assert [stored.market_no, stored.strategy_no, stored.symbol_no] == [no for no, _, _ in names(store)]
    assert stored.payload == PAYLOAD
    assert [book.row() for book in loaded.books] == [made.book.row()]
    assert loaded.cursors == {("g", "main"): ("e", 1)}
    assert loaded.names == names(store)
    assert counters(store) == (1, 1, 1)
    assert (loaded.journal.writer, loaded.journal.no) == (store.writer.chain, journal.no)
    assert loaded.journal.digest == journal.digest


def test_later_commit_changes_the_row_of_an_order(store: SqlOrderStore) -> None:
    made = order(store)
    journal = store.load().journal
    store.commit(changes(store, journal, made))
    made.apply(Event.COMPLETE, 9)
    made.filled, made.value_paise, made.charges_paise = 10, 2_500_000, 7
    store.commit(Changes(orders={id(made): made}, journal=[journal.entry(9, "quotes", [])]))
    assert store.load().at_work == []
    assert store.order_state(made.signal_no, made.user.user_no) == (OrderState.FILLED, 10, 2_500_000, "")


def test_burst_comes_back_like_single_rows(store: SqlOrderStore) -> None:
    # Rows in bulk take another way: quotes, backslashes, braces, NULL and nothing at all must survive it.
    rules = ['a "b"', "c\\d", "{e,f}", "NULL", "", "₹, \t and \n", "null"]
    journal = store.load().journal
    burst = changes(store, journal, order(store))
    burst.orders, burst.fills = {}, []
    for number in range(1, 41):
        made = order(store, 1, number)
        made.leg, made.rule = number, rules[number % len(rules)]
        made.venue_no = None if number % 2 else store.writer.base + number
        made.apply(Event.CLAIM, 6)
        burst.orders[id(made)] = made
    store.commit(burst)
    assert [stored.row for stored in store.load().at_work] == [made.row() for made in burst.orders.values()]


@pytest.mark.parametrize("part", ["inbox", "orders", "fills", "journal", "names"])
def test_commit_that_fails_half_way_leaves_nothing(store: SqlOrderStore, part: str) -> None:
    journal = store.load().journal
    store.commit(changes(store, journal, order(store)))
    before = store.load()
    broken = changes(store, journal, order(store, 2), seq=2)
    if part == "orders":
        made = order(store)
        broken.orders[id(made)] = made
    elif part == "names":
        broken.names = [(store.writer.base + 1, "market", "again")]
    else:
        rows = getattr(broken, part)
        rows.append(rows[0])
    with pytest.raises(Exception, match=r"(?i)unique|constraint"):
        store.commit(broken)
    after = store.load()
    assert after.cursors == before.cursors
    assert counters(store) == (1, 1, 1)
    assert [stored.row for stored in after.at_work] == [stored.row for stored in before.at_work]
    assert (after.journal.no, after.names) == (before.journal.no, before.names)
    assert store.find_signal("g", f"{2:032x}") is None


def test_commit_goes_through_after_one_that_failed(store: SqlOrderStore) -> None:
    store.commit(changes(store, store.load().journal, order(store)))
    broken = changes(store, store.load().journal, order(store, 2), seq=2)
    broken.fills *= 2
    with pytest.raises(Exception, match=r"(?i)unique|constraint"):
        store.commit(broken)
    store.commit(changes(store, store.load().journal, order(store, 2), seq=2))
    assert (counters(store), len(store.load().at_work)) == ((2, 2, 2), 2)


def test_process_killed_within_a_transaction_leaves_nothing(
    store: SqlOrderStore, open_store: Callable[..., SqlOrderStore], request: pytest.FixtureRequest
) -> None:
    store.commit(changes(store, store.load().journal, order(store)))
    where = store.database.label
    store.close()
    code = (
        "import os, pathlib, sys\n"
        "from order.stores import PostgresOrderStore, SqliteOrderStore\n"
        "where = sys.argv[1]\n"
        "store = (PostgresOrderStore(where, 'paper', 'g') if '://' in where"
        " else SqliteOrderStore(pathlib.Path(where).parent, 'paper'))\n"
        "with store.database.transaction():\n"
        "    store.database.insert('cursors', [('g', 'main', 'e', 7)], replace=True)\n"
        "    assert store.database.row('SELECT max(seq) FROM cursors') == (7,)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    url = str(request.getfixturevalue("postgres_url")) if "://" in where else where
    ended = subprocess.run([sys.executable, "-c", code, url], cwd=PROJECT, check=False, timeout=60)
    assert ended.returncode == -9
    store = eventually(open_store)
    assert store.load().cursors == {("g", "main"): ("e", 1)}


def test_signal_is_found_by_group_and_id(store: SqlOrderStore) -> None:
    made = order(store)
    store.commit(changes(store, store.load().journal, made))
    assert store.find_signal("g", made.signal_id) == (made.signal_no, PAYLOAD)
    assert store.find_signal("other", made.signal_id) is None


def test_missing_order_of_a_taken_request_is_a_damaged_store(store: SqlOrderStore) -> None:
    with pytest.raises(StoreError, match="trading verify"):
        store.order_state(99, 1)


def test_after_answer_changes_nothing(store: SqlOrderStore) -> None:
    store.commit(changes(store, store.load().journal, order(store)))
    store.after_answer(idle=False)
    store.after_answer(idle=True)
    assert len(store.load().at_work) == 1


@pytest.mark.parametrize(("first", "second"), [("paper", "live"), ("live", "paper"), ("proof", "paper")])
def test_store_of_another_environment_is_refused(
    open_store: Callable[..., SqlOrderStore], first: str, second: str
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
