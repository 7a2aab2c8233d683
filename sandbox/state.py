"""What a sandbox remembers over a restart: its market, its clock, every order, conversion, payment and rule.

An append-only file. Plain writes of whole lines: a killed process loses nothing that it said; a power cut
may. The last line of an order or rule wins. The file is written anew at each start.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sandbox.accounts import Moved
from sandbox.orders import Amendment, Order, Trade
from sandbox.rules import Rule
from shared.errors import DataError, LockHeld
from shared.instruments import Instruments

VERSION = 1


class Head(msgspec.Struct, tag="head"):
    """First line."""

    version: int
    market: str
    seed: int
    cash: int


class Clock(msgspec.Struct, tag="clock"):
    """Where the market stood."""

    day: int
    second: float


class Kept(msgspec.Struct, tag="order"):
    """One order as it was."""

    client: str
    symbol: str
    orderid: str
    uniqueid: str
    variety: str
    side: str
    order_type: str
    product: str
    duration: str
    price: int
    trigger: int
    quantity: int
    disclosed: int
    tag: str
    at_us: int
    status: str
    text: str
    filled: int
    value: int
    updated_us: int
    exchange_id: str
    exchange_us: int
    active: bool
    queue: int
    cancelled: int
    trades: list[tuple[str, int, int, int]]
    pending: list[Amendment] = []


class Conversion(msgspec.Struct, tag="conversion"):
    """Part of a position that went over to another product."""

    moved: Moved


class Payment(msgspec.Struct, tag="payment"):
    """Money that a client paid in, or with a minus took out, paise."""

    client: str
    amount: int


Line = Head | Clock | Kept | Conversion | Payment | Rule

_NAMES = [name for name in Kept.__struct_fields__ if name not in ("symbol", "trades")]


class State:
    """Keeps a sandbox; without a path it forgets.

    Args:
        path: The file; made on first use.
        seed: Of the market, for a new file.
        cash: Of each account, paise, for a new file.
    """

    def __init__(self, path: Path | None, *, seed: int, cash: int) -> None:
        self.market = f"sandbox-{secrets.token_hex(4)}"
        self.seed, self.cash = seed, cash
        self.clock: Clock | None = None
        self.kept: dict[str, Kept] = {}
        self.conversions: list[Moved] = []
        self.payments: list[Payment] = []
        self.rules: dict[int, Rule] = {}
        self._fd: int | None = None
        self._joined: list[bytes] | None = None
        if path is not None:
            self._open(path)

    def orders(self, instruments: Instruments) -> list[Order]:
        """Return the orders of earlier lives, oldest first; what is no longer listed is left out."""
        made = []
        for kept in self.kept.values():
            if kept.symbol not in instruments:
                continue
            given = {name: getattr(kept, name) for name in _NAMES}
            trades = [Trade(*trade) for trade in kept.trades]
            made.append(Order(instrument=instruments.get(kept.symbol), trades=trades, **given))
        return made

    def order(self, order: Order) -> None:
        """Keep an order as it is now."""
        if self._fd is None:
            return
        given = {name: getattr(order, name) for name in _NAMES}
        trades = [(each.fill_id, each.quantity, each.price, each.at_us) for each in order.trades]
        self._write(Kept(symbol=order.instrument.symbol, trades=trades, **given))

    def moved(self, moved: Moved) -> None:
        """Keep the conversion of a position."""
        if self._fd is not None:
            self._write(Conversion(moved))

    def paid(self, payment: Payment) -> None:
        """Keep a payment."""
        self.payments.append(payment)
        if self._fd is not None:
            self._write(payment)

    def rule(self, rule: Rule) -> None:
        """Keep a rule as it is now."""
        self.rules[rule.number] = rule
        if self._fd is not None:
            self._write(rule)

    def position(self, day: int, second: float) -> None:
        """Keep where the market stands."""
        if self._fd is not None:
            self._write(Clock(day, second))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is kept inside in one piece: a kill leaves all of it or nothing."""
        self._joined = []
        try:
            yield
        finally:
            lines, self._joined = self._joined, None
            if lines:
                self._put(b"".join(lines))

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, line: Line) -> None:
        raw = msgspec.json.encode(line) + b"\n"
        if self._joined is None:
            self._put(raw)
        else:
            self._joined.append(raw)

    def _put(self, raw: bytes) -> None:
        assert self._fd is not None, "checked by the callers"
        os.write(self._fd, raw)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LockHeld(
                f"Another sandbox works on {path}.", remedy="Stop it, or give another --state."
            ) from None
        try:
            self._read(path)
        except BaseException:
            os.close(fd)
            raise
        # Written anew beside it, then put in its place: a kill in between leaves the old one whole.
        fresh = path.with_name(path.name + ".new")
        self._fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._write(Head(VERSION, self.market, self.seed, self.cash))
        if self.clock is not None:
            self._write(self.clock)
        moved = map(Conversion, self.conversions)
        lines: list[Line] = [*self.kept.values(), *moved, *self.payments, *self.rules.values()]
        for line in lines:
            self._write(line)
        fresh.replace(path)
        os.close(fd)

    def _read(self, path: Path) -> None:
        decode = msgspec.json.Decoder(Line)
        lines = path.read_bytes().split(b"\n")
        for number, raw in enumerate(lines, 1):
            if not raw:
                continue
            try:
                line = decode.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if 1 < number == len(lines):
                    return  # cut off by a kill while it was written
                raise DataError(
                    f"{path}, line {number}: {error}.", remedy="Move the file away; a new market begins then."
                ) from error
            if isinstance(line, Head):
                self.market, self.seed, self.cash = line.market, line.seed, line.cash
            elif isinstance(line, Clock):
                self.clock = line
            elif isinstance(line, Conversion):
                self.conversions.append(line.moved)
            elif isinstance(line, Payment):
                self.payments.append(line)
            elif isinstance(line, Rule):
                self.rules[line.number] = line
            else:
                self.kept[line.orderid] = line
