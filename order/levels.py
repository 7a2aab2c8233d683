"""Levels that a human has a word in: what an ex-date has made void, and what is set by hand."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec
import structlog

from order import stops
from order.books import Book, BookKey
from order.guards import Guard
from order.met import EX_DATE, Met
from order.nights import Nights
from order.orders import OWN_ENGINE
from order.requests import read_price
from order.store import Loaded
from shared.errors import ConfigurationError
from shared.ex_dates import ExDate
from shared.ids import direct_id
from shared.models import Side, is_rehearsal, rupees

MOST_TRAIL = Decimal(50)
_FIELDS = ("user_id", "symbol", "strategy_id", "stop", "target", "trail_percent")

log = structlog.get_logger(__name__)


class Levels(msgspec.Struct, frozen=True):
    """What shall protect a position from now on; 0: nothing of the kind.

    Attributes:
        strategy_id: Whose position; empty: the only one in the symbol.
        trail_bps: Distance of a trailing stop, 1/100 of a percent.
    """

    user_id: str
    symbol: str
    strategy_id: str = ""
    stop_paise: int = 0
    target_paise: int = 0
    trail_bps: int = 0


def parse_levels(given: Mapping[str, object]) -> Levels:
    """Return the levels that *given* says: `stop`, `target` (rupees), `trail_percent`; none: no protection.

    Raises:
        ConfigurationError: With every finding, each with its field and value.
    """
    found = [f"{key}: unknown field" for key in sorted(set(given) - set(_FIELDS))]
    stop, target = read_price(given, "stop", found), read_price(given, "target", found)
    trail = Decimal(0)
    if given.get("trail_percent") is not None:
        try:
            trail = Decimal(str(given["trail_percent"]))
            if not 0 < trail <= MOST_TRAIL or trail * 100 % 1:
                raise ValueError
        except (InvalidOperation, ValueError):
            found.append(f"trail_percent {given['trail_percent']!r} must be 0.01 to {MOST_TRAIL}")
    if found:
        raise ConfigurationError("The levels are refused as they are written: " + "; ".join(found) + ".")
    user_id, symbol, strategy_id = (str(given.get(name) or "") for name in _FIELDS[:3])
    return Levels(user_id, symbol, strategy_id, stop, target, int(trail * 100))


class Leveled(Nights):
    """Voids and sets the levels of open positions."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self.met: dict[BookKey, Met] = {}

    def remember(self, loaded: Loaded) -> None:
        """Take the ex-dates that the store remembers, at start."""
        super().remember(loaded)
        for (_, kind, _), value in loaded.marks.items():
            if kind == EX_DATE:
                met = Met.stored(value)
                self.met[met.book] = met

    def meet_ex_dates(self, run: str, symbol: str | None, day: int, now_us: int) -> None:
        """Void the levels of shares that were bought before an ex-date, and tell it; once each.

        Args:
            run: The market.
            symbol: In it; None: all.
            day: That it has come to, days since the epoch in IST.
            now_us: Wall time.
        """
        if is_rehearsal(run):
            return
        for book in self.open_books(run):
            name, bought = self._names[book.key[2]], self.deliveries.oldest(book.key)
            if symbol not in (None, name) or not book.quantity or not bought:
                continue
            known = self.met.get(book.key)
            since = max(bought, known.day if known is not None else 0)
            for ex_date in self.calendar.ex_dates.between(name, since, day):
                self._meet(book, ex_date, now_us)

    def protect(self, wanted: Levels, now_us: int) -> Guard:
        """Protect an open position as a human says; return what protects it.

        Raises:
            ConfigurationError: There is no such position, or a level makes no sense for it.
        """
        book = self._position(wanted)
        guard = self.guards.get(book.key) or self._new_guard(book, now_us)
        side = Side.SELL if book.quantity > 0 else Side.BUY
        quote = self.latest(guard.run, wanted.symbol)
        if quote is None and guard.run == self.port.run:
            quote = self.port.latest(wanted.symbol)
        tick, found, stop = guard.instrument.tick_paise, [], wanted.stop_paise
        for name, level in (("stop", stop), ("target", wanted.target_paise)):
            if level % tick:
                found.append(f"{name} {rupees(level)} is off the tick of {tick} paise")
        if quote is not None:
            if stop and stops.passed(side, quote.price_paise, stop):
                found.append(f"stop {rupees(stop)} is hit at {rupees(quote.price_paise)}")
            if wanted.target_paise and stops.gained(side, quote.price_paise, wanted.target_paise):
                found.append(f"target {rupees(wanted.target_paise)} is reached already")
            if wanted.trail_bps:
                level = stops.trailed(side, quote.price_paise, wanted.trail_bps, tick)
                stop = stops.nearer(side, stop or level, level)
        elif wanted.trail_bps:
            found.append("trail_percent: there is no price to begin from")
        if found:
            raise ConfigurationError(f"{wanted.symbol} cannot be protected like that: {'; '.join(found)}.")
        guard.side, guard.stop_paise, guard.target_paise = side, stop, wanted.target_paise
        guard.trail_bps = wanted.trail_bps
        guard.best_paise = quote.price_paise if quote is not None else 0
        self._know_guard(guard)
        self._write_guard(guard)
        self.touched[book.key] = guard
        known = self.met.get(book.key)
        if known is not None and known.waits:
            self._note_met(msgspec.structs.replace(known, waits=False), now_us)
        said = [wanted.user_id, wanted.symbol, stop, wanted.target_paise, wanted.trail_bps]
        self.journal_moves("protect", now_us, list(said))
        return guard

    # -- inside ----------------------------------------------------------------------------------

    def _meet(self, book: Book, ex_date: ExDate, now_us: int) -> None:
        guard, what = self.guards.get(book.key), str(ex_date)
        if guard is not None and guard.on:
            levels = (("stop", guard.stop_paise), ("target", guard.target_paise))
            what += "".join(f", {name} was {rupees(level)}" for name, level in levels if level)
            guard.stop_paise = guard.target_paise = guard.trail_bps = 0
            self._write_guard(guard)
            self.touched[book.key] = guard
        self._note_met(Met(book.key, ex_date.number, what), now_us)
        log.error(
            "an open position met an ex-date: its levels are void, its average and its shares are of before",
            user=self.users[book.key[4]].user_id, strategy=self.name_of(book.key[1]), shares=book.quantity,
            what=what, remedy="look at the position at the broker, then `trading protect`",
        )  # fmt: skip

    def _note_met(self, met: Met, now_us: int) -> None:
        self.met[met.book] = met
        market_no, strategy_no, symbol_no, product, user_no = met.book
        what = f"{market_no}:{strategy_no}:{symbol_no}:{product}"
        self.note_account(user_no, EX_DATE, what, msgspec.json.encode(met).decode(), now_us)

    def _position(self, wanted: Levels) -> Book:
        run = self.port.run
        found = [
            book
            for key, book in self._books.items()
            if book.quantity
            and self.users[key[4]].user_id == wanted.user_id
            and self._names[key[2]] == wanted.symbol
            and wanted.strategy_id in ("", self._names[key[1]])
            and run in ("", self._names[key[0]])
        ]
        if len(found) == 1:
            return found[0]
        which = f"{wanted.user_id} holds {wanted.symbol}"
        if not found:
            raise ConfigurationError(f"{which} in no book.", remedy="`trading positions` lists what is held.")
        names = sorted(f"{self._names[book.key[1]]} ({self._names[book.key[0]]})" for book in found)
        raise ConfigurationError(
            f"{which} in {len(found)} books: {', '.join(names)}.", remedy="Name one with --strategy."
        )

    def _new_guard(self, book: Book, now_us: int) -> Guard:
        """Return protection for a book that has had none; its stops belong to a signal of their own."""
        market_no, strategy_no, symbol_no, _, user_no = book.key
        signal_no, user = self.next_signal(), self.users[user_no]
        symbol = self._names[symbol_no]
        signal_id = direct_id(user.user_id, f"own {signal_no}")
        payload = msgspec.json.encode({"user_id": user.user_id, "symbol": symbol, "protect": "by hand"})
        self.changes.inbox.append(
            (
                signal_no, user.group, OWN_ENGINE, "", signal_no, signal_id, market_no, strategy_no,
                symbol_no, 0, payload, now_us,
            )
        )  # fmt: skip
        return Guard(
            book, self.account(user, market_no), self.instruments.get(symbol), self._names[market_no],
            Side.SELL, signal_no, signal_id, 0, 0, 0,
        )  # fmt: skip
