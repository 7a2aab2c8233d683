"""The order store on SQLite: one file, one writing connection, one thread."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import apsw
import msgspec

from order.books import Book
from order.journal import Journal
from order.orders import Changes
from order.schema import FILE_NAME, SCHEMA
from order.store import Loaded, StoredOrder
from order.users import Limits, Terms, User
from shared.errors import StoreError
from shared.models import OrderState
from shared.store.sqlite import Database

WRITER = "order"
VENUE_COUNTER = "paper_venue_no"
FILL_COUNTER = "fill_no"
_VERIFY = "Run `trading verify` and restore the store from a copy."

_ORDER_COLUMNS = (
    "signal_no, user_no, leg, slice, attempt, purpose, side, product, order_type, quantity, price_paise,"
    " state, rule, filled, value_paise, charges_paise, venue_no, placed_us, updated_us"
)


ROWS_AT_ONCE = 16
"""Rows in one INSERT of a hot table: a third less than one by one, and prepared soon."""


def _insert(table: str, columns: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"


def _write(sql: apsw.Connection, into: str, rows: list[tuple[object, ...]]) -> None:
    """Run `INSERT INTO …` for *rows*, many at a time."""
    one = f"({', '.join('?' * len(rows[0]))})"
    whole = len(rows) // ROWS_AT_ONCE * ROWS_AT_ONCE
    if whole:
        many = f"{into} VALUES {', '.join([one] * ROWS_AT_ONCE)}"
        for start in range(0, whole, ROWS_AT_ONCE):
            sql.execute(many, tuple(chain.from_iterable(rows[start : start + ROWS_AT_ONCE])))
    if whole < len(rows):
        sql.executemany(f"{into} VALUES {one}", rows[whole:])


_INSERT_ORDERS = f"INSERT INTO orders ({_ORDER_COLUMNS})"
_UPDATE_ORDER = (
    "UPDATE orders SET quantity = ?, price_paise = ?, state = ?, rule = ?, filled = ?, value_paise = ?,"
    " charges_paise = ?, venue_no = ?, placed_us = ?, updated_us = ?"
    " WHERE signal_no = ? AND user_no = ? AND leg = ? AND slice = ? AND attempt = ?"
)


class SqliteOrderStore:
    """See `order.store.OrderStore`; the caller holds the order lock and calls from one thread."""

    def __init__(self, home: Path, environment: str) -> None:
        self.database = Database.open_writer(home / FILE_NAME, SCHEMA, environment)

    def load(self) -> Loaded:
        """Return the state that all committed transactions left."""
        loaded = Loaded()
        with self.database.snapshot() as sql:
            loaded.users = read_users(self.database)
            loaded.names = [
                (int(n), str(k), str(v)) for n, k, v in sql.execute("SELECT no, kind, name FROM names")
            ]
            loaded.books = [Book.from_row(tuple(row)) for row in sql.execute("SELECT * FROM books")]
            loaded.cursors = {
                (str(group), str(engine)): (str(epoch), int(seq))
                for group, engine, epoch, seq in sql.execute(
                    "SELECT group_name, engine, epoch, seq FROM cursors"
                )
            }
            loaded.signal_no = _number(sql.execute("SELECT max(signal_no) FROM inbox").fetchone())
            loaded.venue_no = int(self.database.meta(VENUE_COUNTER) or 0)
            loaded.fill_no = int(self.database.meta(FILL_COUNTER) or 0)
            head = sql.execute(
                "SELECT no, digest FROM journal WHERE writer = ? ORDER BY no DESC LIMIT 1", (WRITER,)
            ).fetchone()
            if head is not None:
                loaded.journal = Journal(WRITER, int(head[0]), bytes(head[1]))
            loaded.at_work = [
                StoredOrder(tuple(row[6:]), str(row[0]), int(row[1]), int(row[2]), int(row[3]), bytes(row[4]))
                for row in sql.execute(
                    "SELECT signal_id, market_no, strategy_no, symbol_no, payload, NULL, "
                    + ", ".join(f"o.{name.strip()}" for name in _ORDER_COLUMNS.split(","))
                    + " FROM orders o INDEXED BY orders_at_work JOIN inbox USING (signal_no)"
                    " WHERE state IN ('NEW','SENDING','UNKNOWN','ACCEPTED','PARTIALLY_FILLED','REVIEW')"
                    " ORDER BY o.signal_no, o.user_no, leg"
                )
            ]
        return loaded

    def commit(self, changes: Changes) -> None:
        """Write *changes* in one transaction; all of it is durable when this returns."""
        fresh = [order.row() for order in changes.orders.values() if order.fresh]
        stale = [order.row() for order in changes.orders.values() if not order.fresh]
        with self.database.transaction() as sql:
            if changes.names:
                sql.executemany(_insert("names", 3), changes.names)
            if changes.inbox:
                sql.executemany(_insert("inbox", 12), changes.inbox)
            if fresh:
                _write(sql, _INSERT_ORDERS, fresh)
            if stale:
                sql.executemany(_UPDATE_ORDER, [(*row[9:], *row[:5]) for row in stale])
            if changes.fills:
                _write(sql, "INSERT INTO fills", changes.fills)
            if changes.books:
                _write(sql, "INSERT OR REPLACE INTO books", [book.row() for book in changes.books.values()])
            if changes.dead_letters:
                sql.executemany(
                    "INSERT INTO dead_letters (at_us, group_name, engine, epoch, seq, reason, raw)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    changes.dead_letters,
                )
            for (group, engine), (epoch, seq) in changes.cursors.items():
                sql.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", (group, engine, epoch, seq))
            if changes.venue_no is not None:
                self.database.set_meta(VENUE_COUNTER, str(changes.venue_no))
            if changes.fill_no is not None:
                self.database.set_meta(FILL_COUNTER, str(changes.fill_no))
            for entry in changes.journal:
                sql.execute(
                    "INSERT INTO journal (writer, no, at_us, kind, body, digest) VALUES (?, ?, ?, ?, ?, ?)",
                    (entry.writer, entry.no, entry.at_us, entry.kind, entry.body, entry.digest),
                )
        for order in changes.orders.values():
            order.fresh = False

    def find_signal(self, group: str, signal_id: str) -> tuple[int, bytes] | None:
        """Return number and payload of a signal that *group* has taken in, or None."""
        row = self.database.row(
            "SELECT signal_no, payload FROM inbox WHERE group_name = ? AND signal_id = ?", (group, signal_id)
        )
        return None if row is None else (int(row[0]), bytes(row[1]))

    def order_state(self, signal_no: int, user_no: int) -> tuple[OrderState, int, int, str]:
        """Return state, filled shares, value in paise and rule of a direct order."""
        row = self.database.row(
            "SELECT state, filled, value_paise, rule FROM orders"
            " WHERE signal_no = ? AND user_no = ? AND leg = 0 AND slice = 0 AND attempt = 0",
            (signal_no, user_no),
        )
        if row is None:
            raise StoreError(
                f"{self.database.path}: signal {signal_no} has no order of user {user_no}.", remedy=_VERIFY
            )
        return OrderState(str(row[0])), int(row[1]), int(row[2]), str(row[3])

    def save_user(self, user: User, journal_body: object, at_us: int, journal: Journal) -> None:
        """Write a user with subscriptions (new, or in place of the stored one) and journal it."""
        entry = journal.entry(at_us, "user", journal_body)
        with self.database.transaction() as sql:
            sql.execute(
                "INSERT INTO users"
                " (user_no, user_id, name, group_name, broker, enabled, profile, limits, created_us)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (user_no) DO UPDATE SET name = excluded.name,"
                " group_name = excluded.group_name, broker = excluded.broker, enabled = excluded.enabled,"
                " profile = excluded.profile, limits = excluded.limits",
                (
                    user.user_no,
                    user.user_id,
                    user.name,
                    user.group,
                    user.broker,
                    int(user.enabled),
                    user.profile,
                    msgspec.json.encode(user.limits).decode(),
                    at_us,
                ),
            )
            sql.execute("UPDATE subscriptions SET active = 0 WHERE user_no = ?", (user.user_no,))
            for strategy_id, terms in user.subscriptions.items():
                sql.execute(
                    "INSERT INTO subscriptions VALUES (?, ?, ?, 1, ?) ON CONFLICT (user_no, strategy_id)"
                    " DO UPDATE SET terms = excluded.terms, active = 1",
                    (user.user_no, strategy_id, msgspec.json.encode(terms).decode(), at_us),
                )
            sql.execute(
                "INSERT INTO journal (writer, no, at_us, kind, body, digest) VALUES (?, ?, ?, ?, ?, ?)",
                (entry.writer, entry.no, entry.at_us, entry.kind, entry.body, entry.digest),
            )

    def after_answer(self, *, idle: bool) -> None:
        """Fold the WAL into the file when it has grown."""
        self.database.checkpoint_if_due(idle=idle)

    def close(self) -> None:
        """Close the file."""
        self.database.close()


def read_users(database: Database) -> list[User]:
    """Return all users with their active subscriptions, by number."""
    sql = database.connection
    subscriptions: dict[int, dict[str, Terms]] = {}
    for user_no, strategy_id, terms in sql.execute(
        "SELECT user_no, strategy_id, terms FROM subscriptions WHERE active = 1 ORDER BY strategy_id"
    ):
        decoded = msgspec.json.decode(str(terms), type=Terms)
        subscriptions.setdefault(int(user_no), {})[str(strategy_id)] = decoded
    return [
        User(
            user_no=int(row[0]),
            user_id=str(row[1]),
            name=str(row[2]),
            group=str(row[3]),
            broker=str(row[4]),
            enabled=bool(row[5]),
            profile=str(row[6]),
            limits=msgspec.json.decode(str(row[7]), type=Limits),
            subscriptions=subscriptions.get(int(row[0]), {}),
        )
        for row in sql.execute(
            "SELECT user_no, user_id, name, group_name, broker, enabled, profile, limits"
            " FROM users ORDER BY user_no"
        )
    ]


def _number(row: tuple[object, ...] | None) -> int:
    return int(str(row[0])) if row is not None and row[0] is not None else 0
