"""Proof of the books: every signal disposed of, every order explained, every sum right.

Reads one snapshot of the store, also of a running system, and changes nothing. What the outbox holds
comes in as an argument: the engine's store belongs to another room.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from order.books import Book, BookKey
from order.journal import Entry, broken_links
from order.orders import DIRECT_ENGINE
from order.sqlite_store import VENUE_COUNTER
from shared.models import Side
from shared.store.sqlite import Database

MAX_FINDINGS = 50

_OrderKey = tuple[int, int, int, int, int]
_NO_MOVES = frozenset({"user", "cursor", "dead_letter"})
_MOVES = msgspec.msgpack.Decoder(
    tuple[list[object], list[tuple[int, int, int, int, int, int, int, str, str]]]
)
"""What `Order.move` gives, under the head of its entry."""


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


def audit(database: Database, engine: str, epoch: str, outbox: Sequence[OutboxRow], pruned: int = 0) -> Audit:
    """Return the audit of an order store against an engine's outbox.

    Args:
        database: Open for reading.
        engine: The outbox's engine.
        epoch: The epoch that the outbox is in.
        outbox: Its rows by rising seq; empty where there is none.
        pruned: Rows that the outbox has dropped after all had taken them.
    """
    found = Audit(signals=len(outbox) + pruned)
    with database.snapshot():
        _count(database, found)
        _signals(database, found, engine, epoch, outbox)
        _venue(database, found)
        _fills(database, found)
        _books(database, found)
        _journal(database, found)
    return found


def _count(database: Database, found: Audit) -> None:
    def number(query: str, *values: object) -> int:
        row = database.connection.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    from_bus = "FROM orders JOIN inbox USING (signal_no) WHERE engine != ? AND slice = 0 AND attempt = 0"
    found.intents = number(f"SELECT count(*) {from_bus}", DIRECT_ENGINE)
    found.direct_orders = number("SELECT count(*) FROM inbox WHERE engine = ?", DIRECT_ENGINE)
    found.broker_orders = number("SELECT count(venue_no) FROM orders")
    found.fills = number("SELECT count(*) FROM fills")
    found.dead_letters = number("SELECT count(*) FROM dead_letters")


def _signals(database: Database, found: Audit, engine: str, epoch: str, outbox: Sequence[OutboxRow]) -> None:
    sql = database.connection
    cursors = {
        str(group): (str(seen), int(seq))
        for group, seen, seq in sql.execute(
            "SELECT group_name, epoch, seq FROM cursors WHERE engine = ?", (engine,)
        )
    }
    taken: dict[str, set[str]] = defaultdict(set)
    for group, signal_id in sql.execute(
        "SELECT group_name, signal_id FROM inbox WHERE engine = ?", (engine,)
    ):
        taken[str(group)].add(str(signal_id))
    dead: dict[tuple[str, int], list[tuple[str, bytes]]] = defaultdict(list)
    for group, seen, seq, raw in sql.execute(
        "SELECT group_name, epoch, seq, raw FROM dead_letters WHERE engine = ?", (engine,)
    ):
        dead[str(group), int(seq)].append((str(seen), bytes(raw)))
    starts = _first_cursors(database, engine)
    if not cursors:
        found.pending = len(outbox)
    for group, (at_epoch, at) in cursors.items():
        joined = starts.get(group, 0)
        for row in outbox:
            # In an older epoch the same place may have held another signal: there the id must show.
            buried = any(
                seen == epoch or row.signal_id.encode() in raw for seen, raw in dead.get((group, row.seq), ())
            )
            if row.signal_id in taken[group] or buried or row.seq <= joined:
                continue
            if at_epoch == epoch and row.seq <= at:
                found.find("lost", 1, f"signal {row.seq} ({row.signal_id}) was passed over by group {group}")
            else:
                found.pending += 1
    short = sql.execute(
        "SELECT signal_no, subscribers, (SELECT count(*) FROM orders o WHERE o.signal_no = i.signal_no"
        " AND leg = 0 AND slice = 0 AND attempt = 0) AS decided FROM inbox i WHERE decided != subscribers"
    )
    for signal_no, subscribers, decided in short:
        missing = int(subscribers) - int(decided)
        kind = "lost" if missing > 0 else "unexplained"
        found.find(kind, abs(missing), f"signal no {signal_no}: {decided} dispositions of {subscribers}")


def _first_cursors(database: Database, engine: str) -> dict[str, int]:
    starts: dict[str, int] = {}
    for (body,) in database.connection.execute("SELECT body FROM journal WHERE kind = 'cursor' ORDER BY no"):
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
    given = int(database.meta(VENUE_COUNTER) or 0)
    found.find(
        "unexplained",
        abs(given - found.broker_orders),
        f"the venue gave {given} order numbers, {found.broker_orders} orders have one",
    )
    strays = sql.execute(
        "SELECT count(*) FROM orders WHERE signal_no NOT IN (SELECT signal_no FROM inbox)"
    ).fetchone()
    found.find("unexplained", int(strays[0]) if strays else 0, "orders without a signal or request")


def _fills(database: Database, found: Audit) -> None:
    for signal_no, user_no, filled, summed in database.connection.execute(
        "SELECT o.signal_no, o.user_no, o.filled || '/' || o.value_paise || '/' || o.charges_paise AS said,"
        " coalesce(sum(f.quantity), 0) || '/' || coalesce(sum(f.quantity * f.price_paise), 0) || '/' ||"
        " coalesce(sum(f.charges_paise), 0) AS summed"
        " FROM orders o LEFT JOIN fills f USING (signal_no, user_no, leg, slice, attempt)"
        " GROUP BY o.signal_no, o.user_no, o.leg, o.slice, o.attempt HAVING said != summed"
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
    stored = [Book.from_row(tuple(row)) for row in database.connection.execute("SELECT * FROM books")]
    empty = Book((0, 0, 0, "", 0))
    for book in stored:
        told = folded.pop(book.key, empty)
        if _sums(told) != _sums(book):
            found.find("unexplained", 1, f"book {book.key} says {_sums(book)}, its fills {_sums(told)}")
    for key in folded:
        found.find("unexplained", 1, f"fills of book {key} have no book")


def _sums(book: Book) -> tuple[int, int, int, int]:
    return (book.quantity, book.cost_paise, book.realised_paise, book.charges_paise)


def _journal(database: Database, found: Audit) -> None:
    told: dict[_OrderKey, tuple[int, int, str, str]] = {}
    for line in broken_links(_entries(database, told)):
        found.find("unexplained", 1, line)
    rows = database.connection.execute(
        "SELECT user_no, signal_no, leg, slice, attempt, quantity, filled, state, rule FROM orders"
    )
    for user, signal, leg, part, attempt, *stands in rows:
        last = told.pop((int(user), int(signal), int(leg), int(part), int(attempt)), None)
        if last != tuple(stands):
            found.find("unexplained", 1, f"order ({signal}, {user}) is {stands}, the journal says {last}")
    found.find("unexplained", len(told), f"orders are in the journal and nowhere else: {list(told)[:3]}")


def _entries(database: Database, told: dict[_OrderKey, tuple[int, int, str, str]]) -> Iterable[Entry]:
    """Yield the journal, and gather how each order stood after its last step."""
    rows = database.connection.execute(
        "SELECT no, writer, at_us, kind, body, digest FROM journal ORDER BY writer, no"
    )
    for no, writer, at_us, kind, body, digest in rows:
        entry = Entry(int(no), str(writer), int(at_us), str(kind), bytes(body), bytes(digest))
        if entry.kind not in _NO_MOVES:
            # A body that cannot be read was changed, which its link shows.
            with contextlib.suppress(msgspec.DecodeError):
                for user, signal, leg, part, attempt, quantity, filled, path, rule in _MOVES.decode(
                    entry.body
                )[1]:
                    told[user, signal, leg, part, attempt] = (quantity, filled, path.rpartition(">")[2], rule)
        yield entry
