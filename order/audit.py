"""Proof of the books: every signal disposed of, every order explained, every sum right.

Reads one snapshot of the store, also of a running system, and changes nothing. What the outbox holds
comes in as an argument: the engine's store belongs to another room.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import apsw
import msgspec

from order.books import Book, BookKey
from order.day_end import JOURNAL_KIND as DAY_END
from order.fold import FOLDED, Fold
from order.journal import Entry, broken_links
from order.orders import CORRECTION_LEG, DIRECT_ENGINE, OWN_ENGINE
from order.resolver import DOUBLED
from order.sql_store import KEPT_TABLES, VENUE_COUNTER
from order.writer import RANGE
from shared.models import Side
from shared.store.port import Connection, Database

MAX_FINDINGS = 50

_DAY_END = msgspec.msgpack.Decoder(
    tuple[
        int,
        int,
        str,
        list[tuple[int, int, tuple[int, int, int, int, int], int, list[tuple[int, str, int]]]],
    ]
)
"""What `order.day_end` journals: market, day, note, and per user and scrip its figures and who bears them."""


class OutboxRow(msgspec.Struct, frozen=True, array_like=True):
    """One signal that an engine accepted."""

    seq: int
    signal_id: str


@dataclass(slots=True)
class Audit:
    """What was counted and what is wrong.

    Attributes:
        signals: Rows that the engine's outbox has had.
        intents: One for each taken signal, subscribed user and leg.
        broker_orders: Orders with a number at a venue, paper included.
        direct_orders: Taken by `execute_order`.
        pending: Signals above a group's cursor.
        lost: Signals at or below it, or subscribers of a taken one, without a disposition.
        duplicate: Venue orders beyond one for a tag.
        unexplained: Orders, fills or sums that do not follow from an intent; broken journal links.
        unknown, review: Orders whose fate is not known, and those that wait for a human.
        over_exit: Exits that went beyond the position and were corrected.
        settled: Orders whose answer was lost and whose fate is known since; from send to certainty it took
            `certainty_p50_s` in the middle, `certainty_max_s` at most.
        findings: One line for each of the last three, at most 50.
    """

    signals: int = 0
    intents: int = 0
    broker_orders: int = 0
    direct_orders: int = 0
    fills: int = 0
    dead_letters: int = 0
    pending: int = 0
    lost: int = 0
    duplicate: int = 0
    unexplained: int = 0
    unknown: int = 0
    review: int = 0
    over_exit: int = 0
    settled: int = 0
    certainty_p50_s: float | None = None
    certainty_max_s: float | None = None
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled or unexplained."""
        return not (self.lost or self.duplicate or self.unexplained)

    def find(self, kind: str, count: int, line: str) -> None:
        """Count a finding of *kind* (`lost`, `duplicate`, `unexplained`)."""
        if count:
            setattr(self, kind, getattr(self, kind) + count)
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(f"{kind}: {line}")


def audit(database: Database, engine: str, epoch: str, outbox: Iterable[OutboxRow], pruned: int = 0) -> Audit:
    """Return the audit of an order store against an engine's outbox.

    Args:
        database: Open for reading.
        engine: The outbox's engine.
        epoch: The epoch that the outbox is in.
        outbox: Its rows by rising seq; empty where there is none.
        pruned: Rows that the outbox has dropped after all had taken them.
    """
    found = Audit(signals=pruned)
    with database.snapshot():
        parts: tuple[tuple[str, Callable[[], None]], ...] = (
            ("counts", lambda: _count(database, found)),
            ("signals", lambda: _signals(database, found, engine, epoch, outbox)),
            ("orders at venues", lambda: _venue(database, found)),
            ("fates", lambda: _fates(database, found)),
            ("fills", lambda: _fills(database, found)),
            ("books", lambda: _books(database, found)),
            ("ends of days", lambda: _day_ends(database, found)),
            ("journal", lambda: _journal(database, found)),
        )
        for part, look in parts:
            try:
                look()
            except (ValueError, TypeError, LookupError, ArithmeticError) as error:
                # A value that was never written by us; the journal's part says which row has it.
                found.find("unexplained", 1, f"{part} cannot be read to their end: {error}")
    return found


def _count(database: Database, found: Audit) -> None:
    def number(query: str, *values: object) -> int:
        row = database.connection.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    from_bus = (
        "FROM orders JOIN inbox USING (signal_no) WHERE engine NOT IN (?, ?) AND purpose != 'STOP'"
        " AND slice = 0 AND attempt = 0"
    )
    found.intents = number(f"SELECT count(*) {from_bus}", DIRECT_ENGINE, OWN_ENGINE)
    found.direct_orders = number("SELECT count(*) FROM inbox WHERE engine = ?", DIRECT_ENGINE)
    found.broker_orders = number("SELECT count(venue_no) FROM orders") + number(
        "SELECT count(*) FROM venue_orders WHERE venue_order_id != ''"
    )
    found.fills = number("SELECT count(*) FROM fills")
    found.dead_letters = number("SELECT count(*) FROM dead_letters")


def _signals(database: Database, found: Audit, engine: str, epoch: str, outbox: Iterable[OutboxRow]) -> None:
    sql = database.connection
    cursors = {
        str(group): (str(seen), int(seq))
        for group, seen, seq in sql.execute(
            "SELECT group_name, epoch, seq FROM cursors WHERE engine = ?", (engine,)
        )
    }
    dead: dict[tuple[str, int], list[tuple[str, bytes]]] = defaultdict(list)
    for group, seen, seq, raw in sql.execute(
        "SELECT group_name, epoch, seq, raw FROM dead_letters WHERE engine = ?", (engine,)
    ):
        dead[str(group), int(seq)].append((str(seen), bytes(raw)))
    starts = _first_cursors(database, engine)
    taken = "SELECT epoch FROM inbox WHERE group_name = ? AND signal_id = ? AND engine = ?"
    first, head = 0, found.signals
    known: dict[str, int] = defaultdict(int)
    for row in outbox:
        found.signals += 1
        first, head = first or row.seq, row.seq
        found.pending += not cursors
        for group, (at_epoch, at) in cursors.items():
            have = sql.execute(taken, (group, row.signal_id, engine)).fetchone()
            if have is not None:
                known[group] += have[0] == epoch
                continue
            # In an older epoch the same place may have held another signal: there the id must show.
            buried = any(
                seen == epoch or row.signal_id.encode() in raw for seen, raw in dead.get((group, row.seq), ())
            )
            if buried or row.seq <= starts.get(group, 0):
                continue
            if at_epoch == epoch and row.seq <= at:
                found.find("lost", 1, f"signal {row.seq} ({row.signal_id}) was passed over by group {group}")
            else:
                found.pending += 1
    for group, (at_epoch, at) in cursors.items():
        if at_epoch == epoch and at > head:
            line = f"group {group} has signals up to {at}, the outbox ends at {head}"
            found.find("unexplained", at - head, line)
    counts = sql.execute(
        "SELECT group_name, count(*) FROM inbox WHERE engine = ? AND epoch = ? AND seq >= ? AND seq <= ?"
        " GROUP BY group_name",
        (engine, epoch, first or 1, head),
    )
    for group, count in counts:
        more = max(int(count) - known[str(group)], 0)
        found.find("unexplained", more, f"{more} signals of group {group} are not in the outbox")
    short = sql.execute(
        "SELECT * FROM (SELECT signal_no, subscribers, (SELECT count(*) FROM orders o WHERE"
        " o.signal_no = i.signal_no AND leg = 0 AND slice = 0 AND attempt = 0) AS decided FROM inbox i) found"
        " WHERE decided != subscribers"
    )
    for signal_no, subscribers, decided in short:
        missing = int(subscribers) - int(decided)
        kind = "lost" if missing > 0 else "unexplained"
        found.find(kind, abs(missing), f"signal no {signal_no}: {decided} dispositions of {subscribers}")


def _first_cursors(database: Database, engine: str) -> dict[str, int]:
    starts: dict[str, int] = {}
    for (body,) in database.connection.execute("SELECT body FROM journal WHERE kind = 'cursor' ORDER BY no"):
        with contextlib.suppress(msgspec.DecodeError):  # a body that was changed: its link shows
            group, of, _, seq = msgspec.msgpack.decode(bytes(body), type=tuple[str, str, str, int])
            if of == engine:
                starts.setdefault(group, seq)
    return starts


def _venue(database: Database, found: Audit) -> None:
    sql = database.connection
    for number, count in sql.execute(
        "SELECT venue_no, count(*) FROM orders WHERE venue_no IS NOT NULL"
        " GROUP BY venue_no HAVING count(*) > 1"
    ):
        found.find("duplicate", int(count) - 1, f"venue order {number} stands on {count} orders")
    for order_id, count in sql.execute(
        "SELECT venue_order_id, count(*) FROM venue_orders WHERE venue_order_id != ''"
        " GROUP BY user_no, venue_order_id HAVING count(*) > 1"
    ):
        found.find("duplicate", int(count) - 1, f"the broker's order {order_id} stands on {count} orders")
    # Each writer counts by itself, from the start of its own range.
    given = sum(
        int(value) % RANGE
        for key, value in sql.execute("SELECT key, value FROM meta")
        if str(key).partition(":")[0] == VENUE_COUNTER
    )
    numbered = sql.execute("SELECT count(venue_no) FROM orders").fetchone()
    have = int(numbered[0]) if numbered else 0
    found.find(
        "unexplained",
        abs(given - have),
        f"the venue gave {given} order numbers, {have} orders have one",
    )
    strays = sql.execute(
        "SELECT count(*) FROM orders WHERE signal_no NOT IN (SELECT signal_no FROM inbox)"
    ).fetchone()
    found.find("unexplained", int(strays[0]) if strays else 0, "orders without a signal or request")


def _fates(database: Database, found: Audit) -> None:
    sql = database.connection
    for state, count in sql.execute(
        f"SELECT state, count(*) FROM orders {database.using('orders_at_work')}"
        " WHERE state IN ('NEW','SENDING','UNKNOWN','ACCEPTED','PARTIALLY_FILLED','REVIEW') GROUP BY state"
    ):
        if state in ("UNKNOWN", "REVIEW"):
            setattr(found, str(state).lower(), int(count))
    row = sql.execute(
        "SELECT count(*) FROM orders WHERE leg = ? AND attempt = 0", (CORRECTION_LEG,)
    ).fetchone()
    found.over_exit = int(row[0]) if row else 0
    took = sorted(
        int(settled) - int(sent)
        for sent, settled in sql.execute(
            "SELECT sent_us, settled_us FROM venue_orders WHERE lost_us > 0 AND settled_us > 0"
        )
    )
    found.settled = len(took)
    if took:
        found.certainty_p50_s = round(took[(len(took) - 1) // 2] / 1e6, 3)
        found.certainty_max_s = round(took[-1] / 1e6, 3)
    for user, tag, count in sql.execute(
        "SELECT user_no, what, value FROM account_marks WHERE kind = ?", (DOUBLED,)
    ):
        # One that a human has looked into is a duplicate all the same.
        extra = int(str(count).partition(" ")[0]) - 1
        found.find("duplicate", extra, f"{extra + 1} broker orders of user {user} carry the tag {tag}")


def _fills(database: Database, found: Audit) -> None:
    for signal_no, user_no, filled, summed in database.connection.execute(
        "SELECT * FROM (SELECT o.signal_no, o.user_no,"
        " o.filled || '/' || o.value_paise || '/' || o.charges_paise AS said,"
        " coalesce(sum(f.quantity), 0) || '/' || coalesce(sum(f.quantity * f.price_paise), 0) || '/' ||"
        " coalesce(sum(f.charges_paise), 0) AS summed"
        " FROM orders o LEFT JOIN fills f USING (signal_no, user_no, leg, slice, attempt)"
        " GROUP BY o.signal_no, o.user_no, o.leg, o.slice, o.attempt) found"
        " WHERE said != summed"
    ):
        found.find(
            "unexplained",
            1,
            f"order ({signal_no}, {user_no}) says filled/value/charges {filled}, its fills {summed}",
        )
    strays = database.connection.execute(
        "SELECT count(*) FROM fills f LEFT JOIN orders o USING (signal_no, user_no, leg, slice, attempt)"
        " WHERE o.state IS NULL OR o.state IN ('NEW', 'REFUSED', 'ABSENT')"
    ).fetchone()
    found.find("unexplained", int(strays[0]) if strays else 0, "fills of orders that cannot have any")


def _books(database: Database, found: Audit) -> None:
    folded: dict[BookKey, Book] = {}
    rows: Iterable[tuple[object, ...]] = database.connection.execute(
        "SELECT market_no, strategy_no, symbol_no, product, user_no, side, f.quantity, f.price_paise,"
        " f.charges_paise FROM fills f JOIN orders USING (signal_no, user_no, leg, slice, attempt)"
        " JOIN inbox USING (signal_no) ORDER BY fill_no"
    )
    for market, strategy, symbol, product, user, side, quantity, price, charges in rows:
        key = (int(str(market)), int(str(strategy)), int(str(symbol)), str(product), int(str(user)))
        book = folded.setdefault(key, Book(key))
        book.fill(Side(str(side)), int(str(quantity)), int(str(price)), int(str(charges)))
    for market, strategy, symbol, product, user, charges in database.connection.execute(
        "SELECT market_no, strategy_no, symbol_no, product, user_no, sum(charges_paise) FROM adjustments"
        " GROUP BY market_no, strategy_no, symbol_no, product, user_no"
    ):
        key = (int(str(market)), int(str(strategy)), int(str(symbol)), str(product), int(str(user)))
        folded.setdefault(key, Book(key)).charges_paise += int(str(charges))
    stored = [Book.from_row(tuple(row)) for row in database.connection.execute("SELECT * FROM books")]
    empty = Book((0, 0, 0, "", 0))
    for book in stored:
        told = folded.pop(book.key, empty)
        if _sums(told) != _sums(book):
            found.find("unexplained", 1, f"book {book.key} says {_sums(book)}, its fills {_sums(told)}")
    for key in folded:
        found.find("unexplained", 1, f"fills of book {key} have no book")


def _day_ends(database: Database, found: Audit) -> None:
    """Hold what is booked for days that are over against the journal, and against itself."""
    sql = database.connection
    lines: dict[tuple[int, ...], tuple[int, ...]] = {}
    shares: dict[tuple[object, ...], int] = {}
    for (body,) in sql.execute("SELECT body FROM journal WHERE kind = ? ORDER BY no", (DAY_END,)):
        try:
            market_no, day, _, told = _DAY_END.decode(bytes(body))
        except msgspec.DecodeError:
            continue  # it was changed, which its link shows
        for user_no, symbol_no, figures, provisional, borne in told:
            lines[market_no, day, user_no, symbol_no] = (*figures, provisional)
            for strategy_no, product, paise in borne:
                shares[market_no, day, user_no, symbol_no, strategy_no, product] = paise
    stored = {
        tuple(map(int, row[:4])): tuple(map(int, row[4:])) for row in sql.execute("SELECT * FROM day_charges")
    }
    for key in sorted(key for key in {*lines, *stored} if lines.get(key) != stored.get(key)):
        found.find(
            "unexplained", 1, f"day's charges {key} are {stored.get(key)}, the journal says {lines.get(key)}"
        )
    parts = {tuple(row[:6]): int(row[6]) for row in sql.execute("SELECT * FROM adjustments")}
    for part in sorted(part for part in {*shares, *parts} if shares.get(part) != parts.get(part)):
        found.find(
            "unexplained", 1, f"adjustment {part} is {parts.get(part)}, the journal says {shares.get(part)}"
        )


def _sums(book: Book) -> tuple[int, int, int, int]:
    return (book.quantity, book.cost_paise, book.realised_paise, book.charges_paise)


def _journal(database: Database, found: Audit) -> None:
    sql = database.connection
    if not isinstance(sql, apsw.Connection):
        _links(broken_links(read_entries(sql)), found)
        return
    fold = Fold.beside(sql, KEPT_TABLES)
    _links(broken_links(_folded(read_entries(sql), fold, found)), found)
    if not fold.started:
        # Nothing was ever written, or the store has not been opened since the journal keeps rows.
        found.find("unexplained", _without_journal(sql), "journal: it is empty, and the tables have rows")
        return
    fold.meta("environment", fold.environment)
    for table in KEPT_TABLES:
        for count, line in fold.differences(table):
            found.find("unexplained", count, line)


def _without_journal(sql: Connection) -> int:
    """Return how many rows stand beside a journal without one entry; every version has kept some."""
    if sql.execute("SELECT 1 FROM journal LIMIT 1").fetchone() is not None:
        return 0
    query = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM inbox)"
    row = sql.execute(query).fetchone()
    return int(row[0]) if row else 0


def _links(broken: Iterable[str], found: Audit) -> None:
    for line in broken:
        found.find("unexplained", 1, line)


def _folded(entries: Iterable[Entry], fold: Fold, found: Audit) -> Iterator[Entry]:
    for entry in entries:
        if entry.kind in FOLDED:
            try:
                fold.take(entry)
            except (msgspec.DecodeError, ValueError, TypeError, LookupError, AssertionError):
                found.find("unexplained", 1, f"journal of {entry.writer}: entry {entry.no} cannot be read")
        yield entry


def read_entries(sql: Connection, after: int = 0) -> Iterator[Entry]:
    """Yield the journal's entries above number *after*, writer by writer."""
    rows = sql.execute(
        "SELECT no, writer, at_us, kind, body, digest FROM journal WHERE no > ? ORDER BY writer, no", (after,)
    )
    for no, writer, at_us, kind, body, digest in rows:
        if type(body) is bytes and type(digest) is bytes:
            yield Entry(no, writer, at_us, kind, body, digest)
        else:
            yield Entry(no, writer, at_us, kind, _raw(body), _raw(digest))


def _raw(kept: object) -> bytes:
    """Return bytes as they are kept; nothing for text, which we never wrote."""
    return bytes(kept) if isinstance(kept, bytes | memoryview) else b""
