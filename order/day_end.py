"""The end of a market's day: what it really cost is booked in place of the estimates.

A day may be booked again: what is new is the difference. So a fill that a broker tells late finds its day,
and a replay that is stopped and goes on ends with the same books.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from order.books import BookKey
from order.charges import Charges
from order.day_charges import DayFill, Scrip, ScripCharges, day_charges
from order.execution import Execution
from order.orders import MANUAL
from shared.clock import DAY_US, IST_OFFSET_US, ist_day
from shared.models import Side

FINAL_US = (16 * 60 + 5) * 60_000_000
"""Wall time of the day in India at which a live day's books are final, after the post-close session."""

JOURNAL_KIND = "day_end"

FillRow = tuple[int, int, int, int, int, str, str, int, int, int, int, int, int]
"""signal_no, user_no, leg, slice, attempt, side, product, strategy_no, symbol_no, quantity, price_paise,
charges_paise, at_us."""

Line = tuple[int, int, int, int, int]
"""levies, STT, stamp duty, depository's charge, estimated; paise."""


class DayStore(Protocol):
    """What is asked of the store."""

    def fills_from(self, market_no: int, signal_no: int) -> list[FillRow]:
        """Return the fills of a market that come of *signal_no* or a later one."""
        ...

    def day_charges(self, market_no: int, day: int) -> dict[tuple[int, int], Line]:
        """Return what is booked for a day, by user and symbol number."""
        ...

    def adjustments(self, market_no: int, day: int) -> dict[BookKey, int]:
        """Return what each book bears of it, paise."""
        ...


class DayEnd:
    """Which days of which markets are over, and what there is to book for them.

    Args:
        closes: Per market number: days up to which all is booked, rising, each with the number of the first
            signal whose fills may come later.
    """

    def __init__(
        self, store: DayStore, charges: Charges, closes: Iterable[tuple[int, int, int]]
    ) -> None:
        self._store = store
        self._charges = charges
        self._closes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for market_no, day, signal_no in sorted(closes):
            self._closes[market_no].append((day, signal_no))
        self._newest: dict[str, int] = {}

    def note(self, run: str, day: int) -> None:
        """Take note that market *run* has come to *day* (days since the epoch, IST)."""
        if day > self._newest.get(run, 0):
            self._newest[run] = day

    def newest(self) -> list[tuple[str, int]]:
        """Return the markets with the day that each has come to."""
        return list(self._newest.items())

    def due(self, desk: Execution, now_us: int, *, final: bool = False) -> list[tuple[int, int]]:
        """Return markets by number with the day up to which they are over and not booked.

        Args:
            final: Take the last day of each replay for over: nothing more is coming now.
        """
        found = []
        for run, newest in self._newest.items():
            market_no = desk.known_number("market", run)
            if market_no is None:
                continue  # nothing was ever taken there; a look from outside a transaction makes no name
            over = newest if final and run.startswith("replay") else _last_over(run, newest, now_us)
            closed = self._closes[market_no]
            if not closed or over > closed[-1][0] or (final and over == closed[-1][0]):
                found.append((market_no, over))
        return found

    def book(self, desk: Execution, market_no: int, upto: int, now_us: int) -> None:
        """Book all days of a market up to *upto* that are not booked, or not as they turned out."""
        closes = self._closes[market_no]
        run = desk.name_of(market_no)
        done = closes[-1][0] if closes else 0
        days: dict[int, list[FillRow]] = defaultdict(list)
        for row in self._store.fills_from(market_no, self._mark(run, market_no, upto)):
            days[ist_day(row[12])].append(row)
        for day in sorted(days):
            if day <= done:
                # Something of a day that was booked: all of it is looked at again.
                rows = self._store.fills_from(market_no, self._mark(run, market_no, day))
                self._book_day(desk, market_no, day, [row for row in rows if ist_day(row[12]) == day], now_us)
            elif day <= upto:
                self._book_day(desk, market_no, day, days[day], now_us)
        if upto > done or any(done < day <= upto for day in days):
            rest = [row[0] for day, rows in days.items() if day > upto for row in rows]
            later = min([_first_open(desk, market_no), *rest])
            closes.append((upto, later))
            desk.changes.closes.append((market_no, upto, later))

    def _mark(self, run: str, market_no: int, day: int) -> int:
        """Return the first signal that can have fills on *day*."""
        marks = [mark for closed, mark in self._closes[market_no] if closed < day]
        # A broker may tell a fill late, of an order that seemed done: there a day is looked at twice.
        back = 2 if run.startswith(("live", "sandbox")) else 1
        return marks[-back] if len(marks) >= back else 0

    def _book_day(
        self, desk: Execution, market_no: int, day: int, rows: list[FillRow], now_us: int
    ) -> None:
        fills: dict[int, list[DayFill]] = defaultdict(list)
        scrips: dict[int, Scrip] = {}
        for row in rows:
            user_no, symbol_no = row[1], row[8]
            key = (market_no, row[7], symbol_no, row[6], user_no)
            fills[user_no].append(DayFill(row[:5], key, Side(row[5]), row[9], row[10], row[11]))
            if symbol_no not in scrips:
                instrument = desk.instruments.find(desk.name_of(symbol_no))
                if instrument is not None:
                    scrips[symbol_no] = Scrip(instrument.kind, instrument.trade_to_trade)
        booked = self._store.day_charges(market_no, day)
        borne = self._store.adjustments(market_no, day)
        told: list[object] = []
        for user_no, of_user in sorted(fills.items()):
            # A broker's own figures come next morning; paper has no other than these.
            provisional = int(desk.users[user_no].broker not in desk.venues)
            for line in day_charges(self._charges, day, of_user, scrips):
                figures = _figures(line)
                if booked.get((user_no, line.symbol_no)) == figures:
                    continue
                desk.changes.day_charges.append(
                    (market_no, day, user_no, line.symbol_no, *figures, provisional)
                )
                for key, paise in line.shares:
                    book = desk.book(key)
                    book.charges_paise += paise - borne.get(key, 0)
                    desk.changes.books[key] = book
                    desk.changes.adjustments.append((market_no, day, user_no, key[2], key[1], key[3], paise))
                shares = [(key[1], key[3], paise) for key, paise in line.shares]
                told.append((user_no, line.symbol_no, figures, provisional, shares))
        if told:
            entry = desk.journal.entry(now_us, JOURNAL_KIND, [market_no, day, self._charges.note(day), told])
            desk.changes.journal.append(entry)


def _figures(line: ScripCharges) -> Line:
    return line.levies_paise, line.stt_paise, line.stamp_paise, line.dp_paise, line.estimated_paise


def _last_over(run: str, newest: int, now_us: int) -> int:
    """Return the last day of market *run* that is over, at most the newest that it has come to."""
    today = ist_day(now_us)
    if run == "live":
        final_us = today * DAY_US - IST_OFFSET_US + FINAL_US
        return min(newest, today if now_us >= final_us else today - 1)
    if run == MANUAL:
        return min(newest, today - 1)
    return newest - 1


def _first_open(desk: Execution, market_no: int) -> int:
    """Return the number of the first signal that can still bring a fill."""
    run = desk.name_of(market_no)
    at_work = (
        order.signal_no for (where, _), orders in desk.at_work.items() if where == run
        for order in orders.values()
    )  # fmt: skip
    return min(at_work, default=desk.signal_no + 1)
