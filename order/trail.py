"""The journal as tables that people keep: signals, orders with each step, requests, fills, switches, users.

A pure function of journal entries, in constant memory: whoever has the entries can make the tables again and
see that none was changed. Entries speak of what came before them by number; where they begin late, what those
numbers stand for is asked for and kept (`Context`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import apsw
import msgspec

from order.journal import Entry
from order.orders import disposition
from order.outside import ARMED, DISARMED
from order.reading import average, venue_id
from order.record import BASE, COMMIT, unpack
from order.switches import SWITCH, Switch
from order.user_change import CREDENTIALS
from order.users import User
from order.writer import RANGE
from shared.clock import IST_OFFSET_US
from shared.models import OrderState, instant, rupees

T = TypeVar("T")

TABLES: dict[str, tuple[str, ...]] = {
    "signals": (
        "taken_utc", "taken_ist", "signal_no", "signal_id", "source", "group", "market", "strategy", "symbol",
        "type", "price", "stop", "target", "quantity", "timeframe", "bar_close_utc", "valid_until_utc",
        "confidence", "reason", "subscribers",
    ),
    "orders": (
        "order_id", "signal_no", "signal_id", "user", "strategy", "market", "symbol", "purpose", "side",
        "product", "order_type", "quantity", "price", "state", "disposition", "rule", "filled",
        "average_price", "charges", "venue_order_id", "placed_utc", "placed_ist", "sent_utc", "sent_ist",
        "updated_utc", "updated_ist",
    ),
    "order_steps": (
        "at_utc", "at_ist", "order_id", "user", "symbol", "cause", "before", "after", "quantity", "filled",
        "rule",
    ),
    "requests": (
        "at_utc", "at_ist", "order_id", "user", "symbol", "number", "kind", "state", "order_type",
        "quantity", "price", "trigger", "asked_utc", "sent_utc", "reason",
    ),
    "fills": (
        "at_utc", "at_ist", "fill_no", "order_id", "user", "strategy", "market", "symbol", "quantity",
        "price", "charges", "quote", "quote_utc", "written_utc",
    ),
    "switches": ("at_utc", "at_ist", "level", "user", "strategy", "market", "until", "why"),
    "users": ("at_utc", "at_ist", "user", "field", "before", "after"),
    "arming": ("at_utc", "at_ist", "user", "state", "words", "told", "strategies"),
    "credentials": ("at_utc", "at_ist", "user", "change", "by"),
    "account_notes": ("at_utc", "at_ist", "user", "kind", "about", "value"),
    "unreadable_signals": ("at_utc", "at_ist", "group", "engine", "epoch", "seq", "reason"),
    "starts": ("at_utc", "at_ist", "writer", "environment", "facts"),
}  # fmt: skip
"""Tables and their columns. Rupees; instants as UTC and India's clock; of orders the state at the end."""

SHARED = ("unreadable_signals",)
"""Tables that are nobody's own: they are left empty where one user's rows are asked for."""

_MOST_PENDING = 1000
_KEY = 5

Put = Callable[[str, Sequence[object]], None]
"""Takes a row of a table."""


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """What the ids of a user's orders hang on."""

    user_id: str
    account: str

    def tag(self, signal_id: str, key: Sequence[Any]) -> str:
        """Return the id of the order with that key."""
        return User(user_no=0, user_id=self.user_id, account=self.account).tag(signal_id, *key[2:_KEY])


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """What an order came of: a signal, or a request by hand."""

    signal_id: str
    market: str
    strategy: str
    symbol: str


class Context(msgspec.Struct):
    """What numbers in the entries stand for that were given before the first of them."""

    names: dict[int, str] = {}
    owners: dict[int, Owner] = {}
    origins: dict[int, Origin] = {}


class Lookup:
    """Knows what came before the entries; this one knows of nothing."""

    def name(self, number: int) -> str | None:
        """Return a symbol's, strategy's or market's name."""
        return None

    def owner(self, user_no: int) -> Owner | None:
        """Return a user."""
        return None

    def origin(self, signal_no: int) -> Origin | None:
        """Return what a signal or a request was about."""
        return None


class _Wish(msgspec.Struct):
    """What is shown of a signal's payload; a request by hand has less."""

    signal_type: str = ""
    side: str = ""
    price: str | None = None
    stop: str | None = None
    target: str | None = None
    quantity: int = 0
    timeframe: str = ""
    bar_close: str = ""
    valid_until: str = ""
    confidence: float | None = None
    reason: str = ""


class Trail:
    """Makes tables of entries, given writer by writer in their order.

    Args:
        put: Takes each row; those of `orders` come at the end.
        context: What is known of the time before; what *lookup* adds is kept there.
        lookup: Asked for what neither the entries nor *context* tell.
        user_id: Of this user only; empty: of all.
    """

    def __init__(self, put: Put, context: Context, lookup: Lookup | None = None, user_id: str = "") -> None:
        self._put = put
        self._context = context
        self._lookup = lookup or Lookup()
        self._only = user_id
        self._writer = ""
        self._names: dict[int, str] = {}
        self._owners: dict[int, Owner] = {}
        self._told: dict[str, dict[str, str]] = {}
        self._armed: dict[int, bool] = {}
        self._pending: list[Entry] = []
        self._sql = apsw.Connection("")  # a file of its own, gone at the end; only a part is in memory
        tables = (
            "CREATE TABLE origins (signal_no INTEGER PRIMARY KEY, signal_id, market, strategy, symbol);"
            "CREATE TABLE orders (signal_no, user_no, leg, slice, attempt, row BLOB,"
            " PRIMARY KEY (signal_no, user_no, leg, slice, attempt)) WITHOUT ROWID;"
            "CREATE TABLE wires (signal_no, user_no, leg, slice, attempt, venue_order_id, sent_us,"
            " PRIMARY KEY (signal_no, user_no, leg, slice, attempt)) WITHOUT ROWID;"
            "BEGIN"
        )
        # It answers a pragma with a row, and goes on once that is read.
        list(self._sql.execute(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -32000; {tables}"))

    def take(self, entry: Entry) -> None:
        """Take the next entry.

        Raises:
            msgspec.DecodeError, ValueError, TypeError, LookupError: Its body is none that we ever wrote.
        """
        if entry.writer != self._writer:
            self._flush()
            self._writer, self._armed = entry.writer, {}
        if entry.kind == COMMIT:
            _, inputs, rows = msgspec.msgpack.decode(entry.body)
            self._inputs(entry, inputs)
            self._rows(entry, {table: unpack(packed) for table, packed in rows.items()})
        elif entry.kind == BASE:
            _, table, packed = msgspec.msgpack.decode(entry.body)
            self._rows(entry, {table: unpack(packed)})
        elif entry.kind == "user":
            body = msgspec.msgpack.decode(entry.body)
            self._user(entry.at_us, body[1] if isinstance(body, list) else body)
        elif entry.kind == ARMED:
            user_no, words, *rest = msgspec.msgpack.decode(entry.body)
            if self._wanted(user_no):
                user = self._owner(int(user_no)).user_id
                self._row("arming", entry.at_us, user, "armed by a human", words, *map(_text, rest))
        elif entry.kind == DISARMED:
            (user_no,) = msgspec.msgpack.decode(entry.body)
            if self._wanted(user_no):
                user = self._owner(int(user_no)).user_id
                self._row("arming", entry.at_us, user, "disarmed by a human", "", "", "")
        else:
            # What moved is explained by the rows of the same transaction, which come after it.
            self._pending.append(entry)
            if len(self._pending) >= _MOST_PENDING:
                self._flush()

    def finish(self) -> None:
        """Put what is known at the end only: how orders stand."""
        self._flush()
        for *key, raw, venue_order_id, sent_us in self._sql.execute(
            "SELECT o.*, w.venue_order_id, w.sent_us FROM orders o"
            " LEFT JOIN wires w USING (signal_no, user_no, leg, slice, attempt)"
            " ORDER BY o.signal_no, o.user_no, o.leg, o.slice, o.attempt"
        ):
            self._order(key, msgspec.msgpack.decode(raw), venue_order_id, int(sent_us or 0))
        self._sql.close()

    # -- inside ----------------------------------------------------------------------------------

    def _inputs(self, entry: Entry, inputs: Sequence[Any]) -> None:
        for place, (kind, at_us, values, *_) in enumerate(inputs):
            if kind == "start":
                self._armed = {}
                facts = msgspec.json.encode(values[0], order="sorted").decode()
                self._row("starts", at_us, self._writer, values[0].get("environment", ""), facts)
            elif kind == "armed":
                # It goes with the input after it, and has its time.
                when = next((each[1] for each in inputs[place + 1 :] if each[1]), entry.at_us)
                self._arm(int(when), {int(no): bool(on) for no, on in values[0]})

    def _arm(self, at_us: int, armed: Mapping[int, bool]) -> None:
        for user_no, on in armed.items():
            if self._armed.get(user_no) != on and self._wanted(user_no):
                state = "ARMED" if on else "no entries"
                self._row("arming", at_us, self._owner(user_no).user_id, state, "", "", "")
        self._armed = dict(armed)

    def _rows(self, entry: Entry, rows: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        self._names.update((int(no), str(name)) for no, _, name in rows.get("names", ()))
        for row in rows.get("users", ()):
            self._owners[int(row[0])] = Owner(str(row[1]), str((row[9] if len(row) > 9 else "") or row[4]))
        orders = rows.get("orders", ())
        self._signals(entry, rows.get("inbox", ()), {row[0] for row in orders if self._wanted(row[1])})
        self._flush()
        self._keep("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?)", orders, lambda row: (
            *row[:_KEY], msgspec.msgpack.encode(row[_KEY:])
        ))  # fmt: skip
        self._keep("INSERT OR REPLACE INTO wires VALUES (?, ?, ?, ?, ?, ?, ?)", rows.get("venue_orders", ()),
                   lambda row: (*row[:_KEY], row[6], row[7]))  # fmt: skip
        for row in rows.get("fills", ()):
            self._fill(entry, row)
        for row in rows.get("amendments", ()):
            self._request(entry, row)
        for row in rows.get("account_marks", ()):
            self._mark(row)
        for row in rows.get("dead_letters", ()):
            self._row("unreadable_signals", int(row[1]), *row[2:7])

    def _keep(
        self, query: str, rows: Sequence[Sequence[Any]], kept: Callable[[Sequence[Any]], tuple[Any, ...]]
    ) -> None:
        wanted = [kept(row) for row in rows if self._wanted(row[1])]
        if wanted:
            self._sql.executemany(query, wanted)

    def _signals(self, entry: Entry, inbox: Sequence[Sequence[Any]], mine: set[Any]) -> None:
        for row in inbox:
            number, group, engine, _, _, signal_id, market, strategy, symbol, subscribers, payload, at = row
            if self._only and number not in mine:
                continue
            origin = Origin(str(signal_id), self._name(market), self._name(strategy), self._name(symbol))
            self._sql.execute(
                "INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?, ?)",
                (number, *msgspec.structs.astuple(origin)),
            )
            wish = _wish(bytes(payload))
            self._row(
                "signals", int(at), number, origin.signal_id, engine, group, origin.market, origin.strategy,
                origin.symbol, wish.signal_type or wish.side, wish.price, wish.stop, wish.target,
                wish.quantity or "", wish.timeframe, wish.bar_close, wish.valid_until, wish.confidence,
                wish.reason,
                "" if self._only else subscribers,
            )  # fmt: skip

    def _flush(self) -> None:
        """Put the steps that have waited for what explains them."""
        pending, self._pending = self._pending, []
        for entry in pending:
            body = msgspec.msgpack.decode(entry.body)
            moves = body[1] if isinstance(body, list) and len(body) > 1 else ()
            for move in moves if isinstance(moves, list) else ():
                if isinstance(move, list) and len(move) == _KEY + 4 and self._wanted(move[0]):
                    self._moved(entry, move)

    def _moved(self, entry: Entry, move: Sequence[Any]) -> None:
        user_no, signal_no, *rest, quantity, filled, path, rule = move
        key = (signal_no, user_no, *rest)
        tag, owner, origin = self._of(key)
        states = str(path).split(">")
        known = self._sql.execute(
            "SELECT 1 FROM orders WHERE (signal_no, user_no, leg, slice, attempt) = (?, ?, ?, ?, ?)", key
        ).fetchone()
        if known is None or len(states) == 1:
            states.insert(0, "")
        for before, after in pairwise(states):
            self._row(
                "order_steps", entry.at_us, tag, owner.user_id, origin.symbol, entry.kind, before, after,
                quantity, filled, rule,
            )  # fmt: skip

    def _fill(self, entry: Entry, row: Sequence[Any]) -> None:
        if not self._wanted(row[1]):
            return
        tag, owner, origin = self._of(row)
        number, quantity, price, charges, at_us, quote, quote_us = row[_KEY:]
        self._row(
            "fills", int(at_us), number, tag, owner.user_id, origin.strategy, origin.market, origin.symbol,
            quantity, rupees(price), rupees(charges), rupees(quote), _utc(quote_us), _utc(entry.at_us),
        )  # fmt: skip

    def _request(self, entry: Entry, row: Sequence[Any]) -> None:
        if not self._wanted(row[1]):
            return
        tag, owner, origin = self._of(row)
        number, kind, state, order_type, quantity, price, trigger, asked, sent, _, reason = row[_KEY:]
        self._row(
            "requests", entry.at_us, tag, owner.user_id, origin.symbol, number, kind, state, order_type,
            quantity, rupees(price), rupees(trigger) if trigger else "", _utc(asked), _utc(sent), reason,
        )  # fmt: skip

    def _mark(self, row: Sequence[Any]) -> None:
        user_no, kind, what, value, at_us = row
        house = not int(user_no) % RANGE
        if not (house or self._wanted(user_no)):
            return
        user = "" if house else self._owner(int(user_no)).user_id
        if kind == SWITCH:
            switch = Switch.stored(0 if house else int(user_no), str(what), str(value))
            until = str(instant(switch.day * 86_400_000_000).date()) if switch.day else "resumed"
            self._row("switches", switch.at_us, switch.level, user, *switch.scope[1:], until, switch.why)
        elif kind == CREDENTIALS:
            self._row("credentials", int(at_us), user, what, value)
        elif not house or not self._only:
            self._row("account_notes", int(at_us), user, kind, what, value)

    def _user(self, at_us: int, told: Mapping[str, Any]) -> None:
        user_id = str(told["user_id"])
        self._owners[int(told["user_no"])] = Owner(user_id, str(told.get("account") or told.get("broker")))
        if self._only and user_id != self._only:
            return
        new = _flat(told)
        old = self._told.get(user_id, {})
        self._told[user_id] = new
        for field in dict.fromkeys((*old, *new)):
            if old.get(field) != new.get(field):
                self._row("users", at_us, user_id, field, old.get(field, ""), new.get(field, ""))

    def _order(self, key: Sequence[Any], row: Sequence[Any], wire_id: object, sent_us: int) -> None:
        tag, owner, origin = self._of(key)
        (
            purpose, side, product, order_type, quantity, price, state, rule, filled, value, charges,
            venue_no, placed_us, updated_us,
        ) = row  # fmt: skip
        ended = disposition(OrderState(state), str(rule))
        self._put(
            "orders",
            (
                tag, key[0], origin.signal_id, owner.user_id, origin.strategy, origin.market, origin.symbol,
                purpose, side, product, order_type, quantity, rupees(price), state, ended, rule, filled,
                average(value, filled), rupees(charges), venue_id(venue_no, wire_id), _utc(placed_us),
                _ist(placed_us), _utc(sent_us), _ist(sent_us), _utc(updated_us), _ist(updated_us),
            ),
        )  # fmt: skip

    def _of(self, key: Sequence[Any]) -> tuple[str, Owner, Origin]:
        owner, origin = self._owner(int(key[1])), self._origin(int(key[0]))
        return owner.tag(origin.signal_id, key), owner, origin

    def _row(self, table: str, at_us: int, *values: object) -> None:
        if not (self._only and table in SHARED):
            self._put(table, (_utc(at_us), _ist(at_us), *values))

    def _wanted(self, user_no: object) -> bool:
        return not self._only or self._owner(int(str(user_no))).user_id == self._only

    def _name(self, number: int) -> str:
        return self._names.get(number) or self._older(self._context.names, number, self._lookup.name)

    def _owner(self, user_no: int) -> Owner:
        return self._owners.get(user_no) or self._older(self._context.owners, user_no, self._lookup.owner)

    def _origin(self, signal_no: int) -> Origin:
        row = self._sql.execute("SELECT * FROM origins WHERE signal_no = ?", (signal_no,)).fetchone()
        if row is not None:
            return Origin(*map(str, row[1:]))
        return self._older(self._context.origins, signal_no, self._lookup.origin)

    @staticmethod
    def _older(kept: dict[int, T], number: int, look: Callable[[int], T | None]) -> T:
        if number not in kept:
            found = look(number)
            if found is None:
                raise LookupError(f"nothing says what number {number} stands for")
            kept[number] = found
        return kept[number]


def _wish(payload: bytes) -> _Wish:
    try:
        return msgspec.json.decode(payload, type=_Wish, strict=False)
    except msgspec.MsgspecError:
        return _Wish()


def _flat(told: Mapping[str, Any]) -> dict[str, str]:
    """Return a user as fields and their values: limits one by one, a subscription's terms as one."""
    found = {}
    for name, value in told.items():
        if isinstance(value, dict):
            found.update({f"{name}.{key}": _text(each) for key, each in value.items()})
        else:
            found[name] = _text(value)
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _utc(at_us: Any) -> str:
    return f"{instant(int(at_us)):%Y-%m-%dT%H:%M:%S.%f}Z" if at_us else ""


def _ist(at_us: Any) -> str:
    return f"{instant(int(at_us) + IST_OFFSET_US):%Y-%m-%dT%H:%M:%S.%f}+05:30" if at_us else ""
