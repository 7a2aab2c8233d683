"""A day decided anew: what came in, out of the journal, into a fresh core; what comes out must be the same.

The core begins where a process began (there its memory was what the store had), at or before the day's
first entry. The tables of that moment are folded from the journal into a store of their own; then every
input follows in its order, with the clock, the prices and the arming that it met. The journal that this
writes is held against the one that was written, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from broker.base import StoreVenue
from order.audit import read_entries
from order.bookkeeper import Bookkeeper
from order.fold import Fold, Table
from order.inputs import Giver, Port
from order.journal import Entry
from order.lifecycle import IllegalTransition
from order.policy import Policy
from order.record import BASE, COMMIT, unpack
from order.schema import FILE_NAME, SCHEMA
from order.sql_store import KEPT_TABLES, SqlOrderStore
from order.users import User
from order.writer import ONLY_WRITER, Writer
from shared.calendar import Calendar
from shared.clock import ist_day
from shared.errors import TradingError
from shared.instruments import Instruments
from shared.models import microseconds
from shared.store.port import Connection, Database
from shared.store.sqlite import Database as SqliteDatabase

MOVE = ("user_no", "signal_no", "leg", "slice", "attempt", "quantity", "filled", "steps", "rule")
"""What `order.orders.Order.move` holds."""

TOLD_FIRST = ("orders", "fills", "books")

MakeVenue = Callable[[str, str], StoreVenue]
"""Makes a venue in this store by name and profile."""


@dataclass(slots=True)
class Rerun:
    """How a day went when it was decided anew.

    Attributes:
        day: As asked for.
        entries: Journal entries of that day by the market's clock or by the wall's, all held against the new.
        lead_in: Entries between the start of the process and the day, decided anew as well.
        inputs: What came in.
        moves: Steps of orders that were decided, in all those entries.
        differences: Entries that came out otherwise, or did not come, or came in addition.
        first: The first of them, in words; empty where there is none.
    """

    day: str
    entries: int = 0
    lead_in: int = 0
    inputs: int = 0
    moves: int = 0
    differences: int = 0
    first: str = ""

    def differ(self, line: str) -> None:
        """Count a difference."""
        self.differences += 1
        self.first = self.first or line


class NoSuchDay(TradingError):
    """The journal has nothing of that day."""


@dataclass(slots=True)
class _Span:
    """Where a day lies in the journal: numbers of the entries before the start, and of first and last."""

    before: int = 0
    first: int = 0
    last: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


class _When(msgspec.Struct):
    bar_close: datetime


class _SetClock:
    """Says what it is set to."""

    def __init__(self) -> None:
        self.at_us = 0

    def now_us(self) -> int:
        return self.at_us

    def boot_s(self) -> float:
        return 0.0


def rerun_day(
    source: Database,
    day: int,
    name: str,
    folder: Path,
    *,
    instruments: Instruments,
    calendar: Calendar,
    make_venue: MakeVenue,
) -> Rerun:
    """Decide a day anew.

    Args:
        source: The order store, open for reading; SQLite, or a copy in it.
        day: India, days since the epoch.
        name: How it was asked for.
        folder: Empty; takes the store of the fresh core, of one for each writer.
        instruments: What can be traded.
        calendar: Trading days.
        make_venue: Makes the venues that the store's orders went to.

    Raises:
        NoSuchDay: The journal has nothing of that day, or not the start before it.
    """
    found = Rerun(name)
    with source.snapshot() as sql:
        chains = list(sql.execute("SELECT DISTINCT writer FROM journal ORDER BY writer"))
        for number, (chain,) in enumerate(chains):
            span = _find(_entries(sql, chain), day, name)
            if span is not None:
                core = _Core(folder / str(number), span, instruments, calendar, make_venue)
                _rerun(core, sql, chain, span, found)
    if not found.entries:
        raise NoSuchDay(
            f"The journal has nothing of {name}.",
            remedy="Days are India's, by the market's clock (of a replay: the data's) or by the wall's.",
        )
    return found


def _rerun(core: _Core, sql: Connection, chain: str, span: _Span, found: Rerun) -> None:
    """Decide the day of one writer's chain anew."""
    try:
        core.begin(entry for entry in _entries(sql, chain) if entry.no <= span.before)
        for group in _groups(_entries(sql, chain, span.before), span.last):
            core.decide(group, found)
            inside = group[-1].no >= span.first
            found.entries += len(group) * inside
            found.lead_in += len(group) * (not inside)
            if core.lost:
                break
    finally:
        core.close()


def _entries(sql: Connection, chain: str, after: int = 0) -> Iterator[Entry]:
    return (entry for entry in read_entries(sql, after) if entry.writer == chain)


class _Core:
    """A fresh core with its store."""

    def __init__(
        self, folder: Path, span: _Span, instruments: Instruments, calendar: Calendar, make_venue: MakeVenue
    ) -> None:
        self.lost = False
        self._make_venue = make_venue
        self._instruments = instruments
        self._calendar = calendar
        self._database = SqliteDatabase.open_writer(
            folder / FILE_NAME, SCHEMA, str(span.facts["environment"])
        )
        # What is lost with this machine's power is made again; nobody waits for this store.
        self._database.connection.execute("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF")
        writer = Writer(*span.facts["writer"]) if "writer" in span.facts else ONLY_WRITER
        self._store = SqlOrderStore(self._database, writer)
        self._clock = _SetClock()
        self._port = Port()
        self._giver: Giver | None = None
        self._head = span.before
        self._tables: dict[str, Table] = {}

    def begin(self, entries: Iterator[Entry]) -> None:
        """Fold the tables as they stood before the start."""
        sql = self._database.connection
        self._tables = {table: Table.read(sql, table) for table in KEPT_TABLES}
        fold = Fold(sql, self._tables, prefix="")
        last: Entry | None = None
        with self._database.transaction():
            for last in entries:
                fold.take(last)
            fold.flush()
            if last is not None:
                sql.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", _row(last))

    def decide(self, group: Sequence[Entry], found: Rerun) -> None:
        """Give the inputs of one transaction anew and hold what comes of them against what came."""
        try:
            self._give(group[-1], found)
            if not _rows(group[-1]) and self._here().books.recorder.waiting:
                self._here().books.write_down(group[-1].at_us)
        except (TradingError, IllegalTransition, LookupError, ValueError, TypeError, AssertionError) as error:
            found.differ(f"entry {group[-1].no}: its inputs cannot be decided again: {error!r}")
            self.lost = True
            return
        made = list(read_entries(self._database.connection, self._head))
        if made:
            self._head = made[-1].no
        for old, new in zip(group, made, strict=False):
            found.moves += len(_moves(old))
            if (old.kind, old.at_us, old.body) != (new.kind, new.at_us, new.body):
                found.differ(_difference(old, new, self._tables))
        for old in group[len(made) :]:
            found.differ(f"entry {old.no} ({old.kind}) was written then and is not now")
        for new in made[len(group) :]:
            found.differ(f"entry {new.no} ({new.kind}) is written now and was not then")

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    # -- inside ----------------------------------------------------------------------------------

    def _give(self, entry: Entry, found: Rerun) -> None:
        body: Any = msgspec.msgpack.decode(entry.body)
        if entry.kind == "user":
            self._clock.at_us = entry.at_us
            self._here().books.save_user(msgspec.convert(body[1], User))
            found.inputs += 1
            return
        _, inputs, rows = body
        inbox: dict[tuple[object, ...], bytes] = {(row[2], row[3], row[4]): row[10] for row in _inbox(rows)}
        for each in inputs:
            kind, self._clock.at_us, values = each[:3]
            found.inputs += 1
            if kind == "start":
                self._start(values[0])
            elif kind == "run":
                self._port.run = values[0]
            elif kind == "latched":
                self._port.latched = bool(values[0])
            elif kind == "armed":
                self._port.armed.clear()
                self._port.armed.update((int(no), bool(on)) for no, on in values[0])
            else:
                self._port.see(each)
                self._here().give(kind, values, inbox)

    def _start(self, facts: Mapping[str, Any]) -> None:
        self._port.forget()
        books = Bookkeeper(
            self._store,
            instruments=self._instruments,
            calendar=self._calendar,
            venues={name: self._make_venue(name, profile) for name, profile in facts["venues"].items()},
            port=self._port,
            clock=self._clock,
            armed=self._port.armed,
            latch=lambda: self._port.latched,
            policy=msgspec.convert(facts.get("policy", {}), Policy),
            software=str(facts.get("software", "")),
        )
        self._giver = Giver(books)

    def _here(self) -> Giver:
        if self._giver is None:
            raise LookupError("the journal does not tell of the start")
        return self._giver


def _find(entries: Iterator[Entry], day: int, name: str) -> _Span | None:
    """Return where *day* lies and where the process that decided it began; None where it is not there."""
    span, began, facts, last_commit, apart = _Span(), 0, {}, 0, False
    for entry in entries:
        if entry.kind == BASE:
            apart = True  # rows of an older version: what was in memory then is not known
        elif entry.kind == COMMIT:
            _, inputs, rows = msgspec.msgpack.decode(entry.body)
            if inputs and inputs[0][0] == "start" and not apart:
                began, facts = last_commit, inputs[0][2][0]
            if day in _days(entry, inputs, rows):
                if not facts:
                    raise NoSuchDay(
                        f"The journal of {name} has no start to begin from.",
                        remedy="It was written by a version that did not keep what came in.",
                    )
                if not span.first:
                    span.before, span.facts, span.first = began, facts, last_commit + 1
                span.last = entry.no
            last_commit, apart = entry.no, False
        elif entry.kind == "user":
            last_commit = entry.no
    return span if span.first else None


def _days(entry: Entry, inputs: Sequence[Any], rows: Mapping[str, Any]) -> set[int]:
    """Return the days that an entry belongs to."""
    found = {ist_day(entry.at_us)}
    for kind, _, values, *_ in inputs:
        if kind == "quotes":
            found.update(ist_day(quote[2]) for quote in values[1])
        elif kind == "direct_at":
            found.add(ist_day(values[5]))
        elif kind == "book_day":
            found.add(int(values[1]))
    for row in _inbox(rows):
        payload = row[10]
        if payload.startswith(b'{"schema"'):
            found.add(ist_day(microseconds(msgspec.json.decode(payload, type=_When).bar_close)))
    return found


def _rows(entry: Entry) -> bool:
    """Return whether rows were written; where not, inputs were written for their own sake."""
    return entry.kind != COMMIT or bool(msgspec.msgpack.decode(entry.body)[2])


def _inbox(rows: Mapping[str, Any]) -> Sequence[Any]:
    """Return the rows of `inbox` that an entry holds."""
    return unpack(rows.get("inbox", (0, [])))


def _groups(entries: Iterator[Entry], last: int) -> Iterator[list[Entry]]:
    """Yield the entries of each transaction, up to number *last*."""
    group: list[Entry] = []
    for entry in entries:
        group.append(entry)
        if entry.kind in (COMMIT, "user"):
            yield group
            group = []
        if entry.no >= last:
            return


def _row(entry: Entry) -> tuple[object, ...]:
    return (entry.writer, entry.no, entry.at_us, entry.kind, entry.body, entry.digest)


def _moves(entry: Entry) -> Sequence[Any]:
    """Return the steps of orders in an entry, where it has some."""
    if entry.kind in (COMMIT, BASE, "user"):
        return ()
    body = msgspec.msgpack.decode(entry.body)
    steps = len(body) == 2 and isinstance(body[0], list) and isinstance(body[1], list)
    return body[1] if steps else ()


def _difference(old: Entry, new: Entry, tables: Mapping[str, Table]) -> str:
    head = f"entry {old.no} ({old.kind})"
    if old.kind != new.kind:
        return f"{head} is now of kind {new.kind}"
    if old.at_us != new.at_us:
        return f"{head} was written at {old.at_us} and is now at {new.at_us}"
    then, now = msgspec.msgpack.decode(old.body), msgspec.msgpack.decode(new.body)
    if old.kind == COMMIT and then[1] == now[1]:
        return f"{head}, {_rows_part(then[2], now[2], tables)}"
    if _moves(old) and _moves(new) and then[0] == now[0]:
        return f"{head}, {_row_part('orders', MOVE, MOVE[:5], then[1], now[1])}"
    return f"{head}{_where(then, now)}"


def _rows_part(old: Mapping[str, Any], new: Mapping[str, Any], tables: Mapping[str, Table]) -> str:
    """Return in which table two commits part first, and how."""
    for name in dict.fromkeys((*TOLD_FIRST, *tables)):
        table = tables[name]
        then, now = (list(map(list, unpack(rows.get(name, (0, []))))) for rows in (old, new))
        if then != now:
            return _row_part(name, table.columns, table.key, then, now)
    return "in tables that are no part of the books"


def _row_part(
    name: str, columns: Sequence[str], key: Sequence[str], old: Sequence[Any], new: Sequence[Any]
) -> str:
    """Return in which row two lists of rows part first, and how."""
    for then, now in zip(old, new, strict=False):
        if then == now:
            continue
        row = dict(zip(columns, then, strict=False))
        which = ", ".join(f"{column} {row.get(column)}" for column in key)
        parts = [
            f"{column} {left!r} then, {right!r} now"
            for column, left, right in zip(columns, then, now, strict=False)
            if left != right
        ]
        return f"{name} ({which}): {'; '.join(parts)}"
    return f"{name}: {len(old)} rows then, {len(new)} now"


def _where(old: Any, new: Any) -> str:
    """Return where two bodies part, and how."""
    if isinstance(old, list) and isinstance(new, list):
        for place, (left, right) in enumerate(zip(old, new, strict=False)):
            if left != right:
                return f"[{place}]{_where(left, right)}"
        return f": {len(old)} parts then, {len(new)} now"
    return f": {old!r} then, {new!r} now"
