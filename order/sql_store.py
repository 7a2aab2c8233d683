"""The order store in SQL, for SQLite and PostgreSQL alike: one writer, one connection, one thread."""

from __future__ import annotations

from typing import Any

from order.books import Book, BookKey
from order.day_end import FillRow, Line
from order.journal import Entry, Journal
from order.orders import CORRECTION_LEG, Changes
from order.record import BASE, COMMIT
from order.rows import open_deliveries, read_users, recent_sends
from order.store import Loaded, StoredOrder
from order.users import User, user_rows
from order.writer import ONLY_WRITER, Writer
from shared.errors import ConfigurationError, StoreError
from shared.models import OrderState
from shared.store.port import Connection, Database

VENUE_COUNTER = "paper_venue_no"
FILL_COUNTER = "fill_no"
AMEND_COUNTER = "amend_no"
KEPT_TABLES = (
    "account_marks", "adjustments", "amendments", "books", "cursors", "day_charges", "day_closes",
    "dead_letters", "fills", "guards", "inbox", "meta", "names", "orders", "subscriptions", "triggers",
    "users", "venue_fills", "venue_ids", "venue_orders",
)  # fmt: skip
"""Tables whose rows the journal keeps; a test holds them against the schema."""

_VERIFY = "Run `trading verify` and restore the store from a copy."

_ORDER_COLUMNS = (
    "signal_no, user_no, leg, slice, attempt, purpose, side, product, order_type, quantity, price_paise,"
    " state, rule, filled, value_paise, charges_paise, venue_no, placed_us, updated_us"
)


HOUR_US = 3_600_000_000
ENDED_KEPT_US = 2 * 86_400_000_000
"""A broker's books hold a day's orders; those that ended longer ago need not be told from foreign ones."""

_SELECT_STORED = (
    "SELECT signal_id, market_no, strategy_no, symbol_no, payload, venue_order_id, sent_us, trigger_paise,"
    " lost_us, settled_us, " + ", ".join(f"o.{name.strip()}" for name in _ORDER_COLUMNS.split(","))
)

_UPDATE_ORDER = (
    "UPDATE orders SET quantity = ?, price_paise = ?, state = ?, rule = ?, filled = ?, value_paise = ?,"
    " charges_paise = ?, venue_no = ?, placed_us = ?, updated_us = ?"
    " WHERE signal_no = ? AND user_no = ? AND leg = ? AND slice = ? AND attempt = ?"
)


_PUT_WIRE = (
    "INSERT INTO venue_orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (signal_no, user_no, leg, slice, attempt) DO UPDATE SET"
    " venue_order_id = excluded.venue_order_id, sent_us = excluded.sent_us,"
    " lost_us = excluded.lost_us, settled_us = excluded.settled_us"
)

_PUT_TRIGGER = (
    "INSERT INTO triggers VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (signal_no, user_no, leg, slice, attempt) DO UPDATE SET"
    " trigger_paise = excluded.trigger_paise"
)


class SqlOrderStore:
    """See `order.store.OrderStore`; the caller holds the order lock and calls from one thread."""

    def __init__(self, database: Database, writer: Writer = ONLY_WRITER) -> None:
        self.database = database
        self.writer = writer

    @property
    def is_empty(self) -> bool:
        """Whether nobody, of any group, has been entered yet."""
        return self.database.row("SELECT 1 FROM users LIMIT 1") is None

    def try_out(self) -> None:
        """Write a row and take it back at once: a full disk, or a server that is gone, shows."""
        with self.database.transaction() as sql:  # a row that is updated to what it was is written nowhere
            sql.execute("INSERT INTO meta VALUES (?, '')", (self.writer.counter("tried"),))
            sql.execute("DELETE FROM meta WHERE key = ?", (self.writer.counter("tried"),))

    def load(self) -> Loaded:
        """Return the state that all committed transactions left."""
        loaded = Loaded(writer=self.writer)
        group, span = self.writer.group, self.writer.span
        with self.database.snapshot() as sql:
            loaded.users = read_users(self.database, group)
            loaded.names = [
                (int(n), str(k), str(v)) for n, k, v in sql.execute(
                    "SELECT no, kind, name FROM names WHERE no BETWEEN ? AND ? ORDER BY no", span
                )
            ]
            loaded.books = [
                Book.from_row(tuple(row))
                for row in sql.execute("SELECT * FROM books WHERE user_no BETWEEN ? AND ?", span)
            ]
            loaded.cursors = {
                (str(group), str(engine)): (str(epoch), int(seq))
                for group, engine, epoch, seq in sql.execute(
                    "SELECT group_name, engine, epoch, seq FROM cursors"
                    " WHERE group_name = coalesce(?, group_name)",
                    (group,),
                )
            }
            loaded.unheard = sql.execute("SELECT 1 FROM cursors LIMIT 1").fetchone() is None
            loaded.ended = [
                (int(user_no), str(tag))
                for user_no, tag in sql.execute(
                    "SELECT user_no, tag FROM venue_orders v JOIN orders o"
                    " USING (signal_no, user_no, leg, slice, attempt) WHERE o.state = 'FILLED'"
                    " AND v.sent_us > (SELECT max(sent_us) FROM venue_orders) - ?"
                    " AND v.signal_no BETWEEN ? AND ?",
                    (ENDED_KEPT_US, *span),
                )
            ]
            loaded.environment = self.database.meta("environment") or ""
            loaded.unjournaled = self._unjournaled()
            loaded.placed = recent_sends(sql, span)
            loaded.deliveries = open_deliveries(sql, span)
            loaded.closes = [
                (int(market_no), int(day), int(signal_no))
                for market_no, day, signal_no in sql.execute(
                    "SELECT * FROM day_closes WHERE market_no BETWEEN ? AND ?", span
                )
            ]
            _load_accounts(sql, loaded, span)
            newest = "SELECT max(signal_no) FROM inbox WHERE signal_no BETWEEN ? AND ?"
            loaded.signal_no = _number(sql.execute(newest, span).fetchone(), self.writer.base)
            loaded.venue_no = self._counter(VENUE_COUNTER)
            loaded.fill_no = self._counter(FILL_COUNTER)
            loaded.amend_no = self._counter(AMEND_COUNTER)
            loaded.guards = [
                tuple(row) for row in sql.execute("SELECT * FROM guards WHERE user_no BETWEEN ? AND ?", span)
            ]
            loaded.amendments = [
                tuple(row)
                for row in sql.execute(
                    "SELECT * FROM amendments WHERE state IN ('REQUESTED','SENT','TAKEN','UNKNOWN')"
                    " AND signal_no BETWEEN ? AND ? ORDER BY number",
                    span,
                )
            ]
            head = sql.execute(
                "SELECT no, digest FROM journal WHERE writer = ? ORDER BY no DESC LIMIT 1",
                (self.writer.chain,),
            ).fetchone()
            loaded.journal = Journal(self.writer.chain)
            if head is not None:
                loaded.journal = Journal(self.writer.chain, int(head[0]), bytes(head[1]))
            fills = _venue_fills(sql, span)
            loaded.at_work = [
                _stored(tuple(row), fills)
                for row in sql.execute(
                    f"{_SELECT_STORED}"
                    f" FROM orders o {self.database.using('orders_at_work')} JOIN inbox USING (signal_no)"
                    " LEFT JOIN venue_orders v USING (signal_no, user_no, leg, slice, attempt)"
                    " LEFT JOIN triggers t USING (signal_no, user_no, leg, slice, attempt)"
                    " WHERE state IN ('NEW','SENDING','UNKNOWN','ACCEPTED','PARTIALLY_FILLED','REVIEW')"
                    " AND o.signal_no BETWEEN ? AND ? ORDER BY o.signal_no, o.user_no, leg",
                    span,
                )
            ]
            loaded.late = [
                _stored(tuple(row), fills)
                for row in sql.execute(
                    f"{_SELECT_STORED}"
                    " FROM venue_orders v JOIN orders o USING (signal_no, user_no, leg, slice, attempt)"
                    " JOIN inbox USING (signal_no)"
                    " LEFT JOIN triggers t USING (signal_no, user_no, leg, slice, attempt)"
                    " WHERE state IN ('ABSENT','REJECTED','CANCELLED','EXPIRED')"
                    " AND v.sent_us > (SELECT max(sent_us) FROM venue_orders) - ?"
                    " AND v.signal_no BETWEEN ? AND ? ORDER BY o.signal_no, o.user_no, leg",
                    (ENDED_KEPT_US, *span),
                )
            ]
        return loaded

    def _counter(self, name: str) -> int:
        return int(self.database.meta(self.writer.counter(name)) or self.writer.base)

    def _unjournaled(self) -> dict[str, list[tuple[object, ...]]]:
        """Return all rows of a store that is older than the journal's keeping of rows; empty elsewhere."""
        sql = self.database.connection
        query = "SELECT kind FROM journal WHERE no = 1 AND writer = ?"
        first = sql.execute(query, (self.writer.chain,)).fetchone()
        if first is None or first[0] == COMMIT:
            return {}
        if sql.execute("SELECT 1 FROM journal WHERE kind = ? LIMIT 1", (BASE,)).fetchone() is not None:
            return {}
        return {table: [tuple(r) for r in sql.execute(f"SELECT * FROM {table}")] for table in KEPT_TABLES}

    def commit(self, changes: Changes) -> None:
        """Write *changes* in one transaction; all of it is durable when this returns."""
        written = changes.rows()
        orders = list(zip(changes.orders.values(), written.get("orders", ()), strict=True))
        fresh = [row for order, row in orders if order.fresh]
        stale = [row for order, row in orders if not order.fresh]
        with self.database.transaction() as sql:
            if changes.names:
                self.database.insert("names", changes.names)
            if changes.inbox:
                self.database.insert("inbox", changes.inbox)
            if fresh:
                self.database.insert("orders", fresh, columns=_ORDER_COLUMNS)
            if stale:
                sql.executemany(_UPDATE_ORDER, [(*row[9:], *row[:5]) for row in stale])
            if changes.fills:
                self.database.insert("fills", changes.fills)
            if changes.books:
                self.database.insert("books", written["books"], replace=True)
            if changes.dead_letters:
                sql.executemany(
                    "INSERT INTO dead_letters (at_us, group_name, engine, epoch, seq, reason, raw)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    changes.dead_letters,
                )
            if changes.cursors:
                rows = [(*key, *place) for key, place in changes.cursors.items()]
                self.database.insert("cursors", rows, replace=True)
            if changes.wires:
                sql.executemany(_PUT_WIRE, changes.wires)
            if changes.triggers:
                sql.executemany(_PUT_TRIGGER, changes.triggers)
            if changes.amendments:
                self.database.insert("amendments", changes.amendments, replace=True)
            if changes.guards:
                self.database.insert("guards", written["guards"], replace=True)
            if changes.trades:
                self.database.insert("venue_fills", changes.trades)
            if changes.seen_ids:
                self.database.insert("venue_ids", changes.seen_ids)
            if changes.marks:
                self.database.insert("account_marks", written["account_marks"], replace=True)
            if changes.closes or changes.day_charges:
                self._write_days(changes)
            if "meta" in written:
                self.database.insert("meta", written["meta"], replace=True)
            if changes.journal:
                self.database.insert("journal", [_journal_row(entry) for entry in changes.journal])
        for order in changes.orders.values():
            order.fresh = False

    def _write_days(self, changes: Changes) -> None:
        tables = (
            ("day_charges", changes.day_charges),
            ("adjustments", changes.adjustments),
            ("day_closes", changes.closes),
        )
        for table, rows in tables:
            if rows:
                self.database.insert(table, rows, replace=True)

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
                f"{self.database.label}: signal {signal_no} has no order of user {user_no}.", remedy=_VERIFY
            )
        return OrderState(str(row[0])), int(row[1]), int(row[2]), str(row[3])

    def fills_from(self, market_no: int, signal_no: int) -> list[FillRow]:
        """Return the fills of a market that come of *signal_no* or a later one."""
        with self.database.snapshot() as sql:
            return [
                (
                    int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]), str(row[5]), str(row[6]),
                    int(row[7]), int(row[8]), int(row[9]), int(row[10]), int(row[11]), int(row[12]),
                )
                for row in sql.execute(
                    "SELECT o.signal_no, o.user_no, o.leg, o.slice, o.attempt, o.side, o.product,"
                    " i.strategy_no, i.symbol_no, f.quantity, f.price_paise, f.charges_paise, f.at_us"
                    " FROM inbox i JOIN fills f ON f.signal_no = i.signal_no"
                    " JOIN orders o ON o.signal_no = f.signal_no AND o.user_no = f.user_no AND o.leg = f.leg"
                    " AND o.slice = f.slice AND o.attempt = f.attempt"
                    " WHERE i.market_no = ? AND i.signal_no >= ?",
                    (market_no, signal_no),
                )
            ]  # fmt: skip

    def day_charges(self, market_no: int, day: int) -> dict[tuple[int, int], Line]:
        """Return what is booked for a day, by user and symbol number."""
        with self.database.snapshot() as sql:
            return {
                (int(row[0]), int(row[1])): (
                    int(row[2]), int(row[3]), int(row[4]), int(row[5]), int(row[6]),
                )
                for row in sql.execute(
                    "SELECT user_no, symbol_no, levies_paise, stt_paise, stamp_paise, dp_paise,"
                    " estimated_paise FROM day_charges WHERE market_no = ? AND day = ?",
                    (market_no, day),
                )
            }  # fmt: skip

    def adjustments(self, market_no: int, day: int) -> dict[BookKey, int]:
        """Return what each book bears of it, paise."""
        with self.database.snapshot() as sql:
            return {
                (market_no, int(row[0]), int(row[1]), str(row[2]), int(row[3])): int(row[4])
                for row in sql.execute(
                    "SELECT strategy_no, symbol_no, product, user_no, charges_paise FROM adjustments"
                    " WHERE market_no = ? AND day = ?",
                    (market_no, day),
                )
            }

    def save_user(self, user: User, journal_body: object, at_us: int, journal: Journal) -> None:
        """Write a user with subscriptions (new, or in place of the stored one) and journal it."""
        self._require_free(user)
        entry, rows = journal.entry(at_us, "user", journal_body), user_rows(user, at_us)
        with self.database.transaction() as sql:
            sql.execute(
                "INSERT INTO users"
                " (user_no, user_id, name, group_name, broker, enabled, profile, limits, created_us, account,"
                " family, algo_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (user_no) DO UPDATE SET name = excluded.name,"
                " group_name = excluded.group_name, broker = excluded.broker, enabled = excluded.enabled,"
                " profile = excluded.profile, limits = excluded.limits, family = excluded.family,"
                " algo_id = excluded.algo_id",
                rows["users"][0],
            )
            sql.execute("UPDATE subscriptions SET active = 0 WHERE user_no = ?", (user.user_no,))
            sql.executemany(
                "INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_no, strategy_id)"
                " DO UPDATE SET terms = excluded.terms, active = 1",
                rows["subscriptions"],
            )
            self.database.insert("journal", [_journal_row(entry)])

    def hold(self, account: str) -> None:
        """Keep other order managers off an account; see `OrderStore`."""
        raise NotImplementedError

    def _require_free(self, user: User) -> None:
        """Make sure that a user's id is theirs, also where another writer's users are not in memory."""
        row = self.database.row("SELECT user_no, group_name FROM users WHERE user_id = ?", (user.user_id,))
        if row is not None and int(row[0]) != user.user_no:
            raise ConfigurationError(
                f"There is a user {user.user_id!r} already, in the group {row[1]!r}.",
                remedy="Choose another id.",
            )

    def after_answer(self, *, idle: bool) -> None:
        """Let the database do what is due."""
        self.database.after_answer(idle=idle)

    def close(self) -> None:
        """Close; committed state stays."""
        self.database.close()


def _stored(row: tuple[Any, ...], fills: dict[tuple[object, ...], dict[str, int]]) -> StoredOrder:
    return StoredOrder(
        row[10:],
        str(row[0]),
        int(row[1]),
        int(row[2]),
        int(row[3]),
        bytes(row[4]),
        str(row[5] or ""),
        int(row[6] or 0),
        int(row[7] or 0),
        int(row[8] or 0),
        int(row[9] or 0),
        fills.get(row[10:15], {}),
    )


def _load_accounts(sql: Connection, loaded: Loaded, span: tuple[int, int]) -> None:
    """Read what is remembered of accounts at brokers."""
    loaded.sends = [
        (int(user), int(sent_us), bool(entry))
        for user, sent_us, entry in sql.execute(
            "SELECT user_no, v.sent_us, purpose = 'ENTRY' FROM venue_orders v"
            " JOIN orders USING (signal_no, user_no, leg, slice, attempt)"
            " WHERE v.sent_us > (SELECT max(sent_us) FROM venue_orders) - ? AND user_no BETWEEN ? AND ?"
            " UNION ALL SELECT user_no, sent_us, 1 = 0 FROM amendments"
            " WHERE sent_us > (SELECT max(sent_us) FROM venue_orders) - ? AND user_no BETWEEN ? AND ?",
            (HOUR_US, *span, HOUR_US, *span),
        )
    ]
    loaded.seen_ids = [
        (int(user), int(day), str(order_id))
        for user, day, order_id in sql.execute(
            "SELECT user_no, day, venue_order_id FROM venue_ids"
            " WHERE day >= (SELECT max(day) FROM venue_ids) - 1 AND user_no BETWEEN ? AND ?",
            span,
        )
    ]
    for *key, most, absent in sql.execute(
        "SELECT signal_no, user_no, leg, slice, max(attempt), sum(CASE state WHEN 'ABSENT' THEN 1 ELSE 0 END)"
        " FROM venue_orders JOIN orders USING (signal_no, user_no, leg, slice, attempt)"
        " WHERE signal_no BETWEEN ? AND ?"
        " GROUP BY signal_no, user_no, leg, slice HAVING max(attempt) > 0 OR leg = ?"
        " OR sum(CASE state WHEN 'ABSENT' THEN 1 ELSE 0 END) > 0",
        (*span, CORRECTION_LEG),
    ):
        signal, user, leg, part = map(int, key)
        loaded.attempts[signal, user, leg, part] = int(most)
        loaded.absences[signal, user, leg, part] = int(absent)
    for user, kind, what, value in sql.execute(
        "SELECT user_no, kind, what, value FROM account_marks WHERE user_no BETWEEN ? AND ?",
        (span[0] - 1, span[1]),  # the house's stand under the number below the first user's
    ):
        loaded.marks[int(user), str(kind), str(what)] = str(value)


def _venue_fills(sql: Connection, span: tuple[int, int]) -> dict[tuple[object, ...], dict[str, int]]:
    """Return the shares booked of the broker's fills by order and the fill's id, where more may come."""
    found: dict[tuple[object, ...], dict[str, int]] = {}
    for *key, fill_id, quantity in sql.execute(
        "SELECT signal_no, user_no, leg, slice, attempt, fill_id, f.quantity"
        " FROM venue_fills f JOIN orders o USING (signal_no, user_no, leg, slice, attempt)"
        " JOIN venue_orders v USING (signal_no, user_no, leg, slice, attempt) WHERE state != 'FILLED'"
        " AND v.sent_us > (SELECT max(sent_us) FROM venue_orders) - ? AND v.signal_no BETWEEN ? AND ?",
        (ENDED_KEPT_US, *span),
    ):
        found.setdefault(tuple(key), {})[str(fill_id)] = int(quantity)
    return found


def _journal_row(entry: Entry) -> tuple[object, ...]:
    return (entry.writer, entry.no, entry.at_us, entry.kind, entry.body, entry.digest)


def _number(row: tuple[object, ...] | None, none: int) -> int:
    return int(str(row[0])) if row is not None and row[0] is not None else none
