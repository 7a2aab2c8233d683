"""What came in and which rows were written: one journal entry for each transaction that writes.

An input that changes no row (a price that fills nothing, a reading that shows nothing new) costs no
transaction of its own: it waits in memory and goes along with the next one that writes. Should this process
end before, the memory that it changed is gone, too. So what is in the journal explains every row, and a
fresh core that is fed the same inputs from a start on decides the same; see `order.rerun`.

The desk's view of the outside goes through here as well: prices and arming stand still for the length of
one decision, and what was looked at is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from broker.base import VenueBook, VenueOrder
from order.journal import Entry, Journal
from order.orders import Changes
from shared.models import Quote
from shared.quotes import Quotes

COMMIT = "commit"
"""Kind of an entry: [version, inputs, {table: rows}]; see `pack` for the rows."""

BASE = "base"
"""Kind of an entry that repeats rows written before rows were journaled: [version, table, rows]."""

VERSION = 1
MOST_WAITING = 1000
"""Inputs that changed no row, after which they are written all the same."""

FEW = 4
"""So many rows are kept as they are; more of them by columns."""

LOOKS = 3
"""Where the quotes stand in an input."""

ITEM = 4
"""Parts of a signal in an input: engine, epoch, seq, payload. An unreadable one has five."""

Input = list[object]
"""Kind (a method of the bookkeeper; or `start`, `run`, `armed`, `latched`), wall time, list of what it was
given; then, where there are, a list of the quotes that it looked at and that are other than those known
before (a symbol alone: none is there)."""


class Recorder:
    """The writing end; also the port that the desk reads.

    Attributes:
        run: The market whose prices these are, as it was when the decision began.
        armed: The same for the accounts that take entries; what the desk changes is passed on.
        latched: The same for the latch file.

    Args:
        port: Where prices come from.
        shared: Who is armed; others change it at any time.
        latch: Whether the latch file lies in the state folder.
    """

    def __init__(
        self, port: Quotes, shared: dict[int, bool], latch: Callable[[], bool] = lambda: False
    ) -> None:
        self.run = ""
        self.latched = False
        self._latch = latch
        self.armed: dict[int, bool] = {}
        self._port = port
        self._shared = shared
        self._was_armed: dict[int, bool] = {}
        self._waiting: list[Input] = []
        self._input: Input = []
        self._seen: dict[str, Quote | None] = {}
        self._told: dict[str, Quote | None] = {}
        self._retold: dict[str, Quote | None] = {}  # what this decision has told, as it was told before
        self._readings: dict[int, tuple[VenueOrder, ...]] = {}

    def latest(self, symbol: str) -> Quote | None:
        """Return the newest quote of *symbol* when it was first asked for in this decision."""
        if symbol in self._seen:
            return self._seen[symbol]
        quote = self._seen[symbol] = self._port.latest(symbol)
        if quote != self._told.get(symbol):
            self._retold[symbol] = self._told.get(symbol)
            self._told[symbol] = quote
            if len(self._input) == LOOKS:
                self._input.append([])
            looks = self._input[LOOKS]
            assert isinstance(looks, list)
            looks.append(symbol if quote is None else quote)
        return quote

    @property
    def waiting(self) -> bool:
        """Whether there are inputs that no entry has yet."""
        return bool(self._waiting)

    def start(self, now_us: int, facts: Mapping[str, object]) -> None:
        """Begin with a memory as the store has it: what waited was for another one."""
        self.run, self.latched = "", False
        self.armed.clear()
        self._was_armed = {}
        self._seen, self._told, self._retold, self._readings = {}, {}, {}, {}
        self._input = ["start", now_us, [dict(facts)]]
        self._waiting = [self._input]

    def begin(self, kind: str, now_us: int, *given: object) -> None:
        """Begin one decision: what it is given, and how the outside stands.

        Args:
            kind: See `Input`.
            now_us: Wall time.
            given: Plain values; a function is asked for its value now, after a start that was due.
        """
        run = self._port.run
        if run != self.run:
            self.run = run
            self._waiting.append(["run", 0, [run]])
        if self._latch() != self.latched:
            self.latched = not self.latched
            self._waiting.append(["latched", 0, [self.latched]])
        if self._shared != self.armed:
            self.armed.clear()
            self.armed.update(self._shared)
            self._was_armed = dict(self.armed)
            self._waiting.append(["armed", 0, [list(self.armed.items())]])
        if self._seen:
            self._seen, self._retold = {}, {}
        self._input = [kind, now_us, [value() if callable(value) else value for value in given]]
        self._waiting.append(self._input)

    def drop(self) -> None:
        """Forget the input of this decision: it meets a memory that is no longer."""
        if self._waiting and self._waiting[-1] is self._input:
            self._waiting.pop()
            self._told.update(self._retold)  # whoever looks next has to tell of it, and of nothing else

    def end(self, changes: Changes, journal: Journal, now_us: int, *, at_once: bool = False) -> None:
        """Give *changes* the entry that explains them, or let the input wait for the next one.

        Args:
            changes: Of this decision.
            journal: Where the entry goes.
            now_us: Wall time.
            at_once: Let nothing wait.
        """
        if self.armed != self._was_armed:
            self._shared.update({no: on for no, on in self.armed.items() if self._was_armed.get(no) != on})
            self._was_armed = dict(self.armed)
        if changes.empty and not at_once and len(self._waiting) < MOST_WAITING:
            return
        changes.journal.append(journal.entry(now_us, COMMIT, self._body(changes)))
        self._waiting = []

    def reading(self, user_no: int, book: VenueBook) -> list[object]:
        """Return a reading of a broker's books as what differs from the one before, row by row."""
        before = self._readings.get(user_no, ())
        self._readings[user_no] = book.orders
        fresh = [
            (place, row)
            for place, row in enumerate(book.orders)
            if place >= len(before) or (row is not before[place] and row != before[place])
        ]
        return [book.asked_us, list(book.unread), len(book.orders), fresh]

    # -- inside ----------------------------------------------------------------------------------

    def _body(self, changes: Changes) -> list[object]:
        rows = changes.rows()
        if self._input[0] == "take":
            self._shorten(rows.get("inbox", []))
        return [VERSION, self._waiting, {table: pack(each) for table, each in rows.items()}]

    def _shorten(self, inbox: Sequence[tuple[object, ...]]) -> None:
        """A payload that the rows hold need not stand in the input as well."""
        held = {(row[2], row[3], row[4]) for row in inbox}
        given = self._input[2]
        assert isinstance(given, list)
        for item in given[1]:
            if len(item) == ITEM and tuple(item[:3]) in held:
                item[3] = None


def base_entries(
    journal: Journal, now_us: int, rows: Mapping[str, Sequence[tuple[object, ...]]]
) -> list[Entry]:
    """Return entries that hold *rows* of a store that is older than the keeping of rows."""
    return [
        journal.entry(now_us, BASE, [VERSION, table, pack(each[start : start + MOST_WAITING])])
        for table, each in rows.items()
        for start in range(0, len(each), MOST_WAITING)
    ]


def pack(rows: Sequence[tuple[object, ...]]) -> list[object]:
    """Return rows as [0, rows], or many as [count, columns] with one value where all are alike."""
    count = len(rows)
    if count < FEW:
        return [0, rows]
    columns: list[object] = []
    for column in zip(*rows, strict=True):
        first = column[0]
        alike = column[-1] == first and column.count(first) == count
        columns.append((first,) if alike else column)
    return [count, columns]


def unpack(packed: Sequence[object]) -> list[Sequence[object]]:
    """Return the rows that `pack` was given."""
    count, parts = packed
    assert isinstance(count, int)
    assert isinstance(parts, list)
    if not count:
        return parts
    return list(zip(*(part * count if len(part) == 1 else part for part in parts), strict=True))
