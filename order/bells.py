"""The clock of the day: INTRADAY positions are closed in time, and a human is told where they are not."""

from __future__ import annotations

import structlog

from order.books import Book
from order.day_plan import NO_ENTRY_US, DayPlan
from order.levels import Leveled
from order.risk import Refused
from shared.calendar import DAY_US, IST_OFFSET_US, MINUTE_US
from shared.clock import ist_day
from shared.instruments import Instrument
from shared.models import Product, Quote

SQUARE_OFF = "square-off by the clock"
NEVER_US = 1 << 62
ALARM_AGAIN_US = MINUTE_US
"""What is open near the end of its day is told so often."""

log = structlog.get_logger(__name__)


class Bells(Leveled):
    """Rings for each market and symbol when a moment of its day has come.

    A replay goes by the data's time, so that speed changes nothing; live goes by the wall as well, so that
    positions are closed when no price comes any more.
    """

    def ring(self, run: str, symbol: str, at_us: int, quote: Quote | None, now_us: int) -> None:
        """See whether a moment has come for *symbol* at market time *at_us*, and do what is due."""
        if at_us < self.bells.get((run, symbol), 0):
            return
        self.meet_ex_dates(run, symbol, ist_day(at_us), now_us)
        instrument = self.instruments.find(symbol)
        plan = None if instrument is None else self.plans.plan(run, at_us, instrument)
        tomorrow_us = (at_us + IST_OFFSET_US) // DAY_US * DAY_US - IST_OFFSET_US + DAY_US
        if plan is None:
            self.bells[run, symbol] = NEVER_US if self.plans.never(run) else tomorrow_us
            return
        moments = (plan.exits_us, plan.alarm_us, plan.hand_over_us, plan.cancel_us)
        again_us = at_us + ALARM_AGAIN_US if plan.alarm_us <= at_us < plan.close_us else tomorrow_us
        self.bells[run, symbol] = min([again_us, *(each for each in moments if at_us < each)])
        if plan.exits_us <= at_us < plan.close_us:
            for book in self._intraday(run, symbol):
                self._close(book, plan, at_us, quote, now_us)

    def ring_all(self, user_no: int, now_us: int) -> None:
        """Ring for all that a user holds, by the wall: also where no price comes."""
        run = self.port.run
        for (number, market_no), account in self._accounts.items():
            if number != user_no or self._names[market_no] != run:
                continue
            for book in list(account.open_books.values()):
                symbol = self._names[book.key[2]]
                quote = self.latest(run, symbol)
                at_us = now_us if run == "live" or quote is None else quote.at_us
                if run == "live" or quote is not None:
                    self.ring(run, symbol, at_us, quote, now_us)

    def too_late(self, run: str, at_us: int, instrument: Instrument) -> Refused | None:
        """Return why a rehearsal that is told to square off takes no entry any more, or None."""
        plan = self.plans.plan(run, at_us, instrument)
        if plan is None or at_us < plan.exits_us - NO_ENTRY_US:
            return None
        return Refused("session", "positions are about to be closed by the clock")

    # -- inside ----------------------------------------------------------------------------------

    def _intraday(self, run: str, symbol: str) -> list[Book]:
        return [
            book
            for key, book in self._books.items()
            if key[3] == Product.INTRADAY
            and not book.idle
            and self._names[key[0]] == run
            and self._names[key[2]] == symbol
        ]

    def _close(self, book: Book, plan: DayPlan, at_us: int, quote: Quote | None, now_us: int) -> None:
        self.leave(book, SQUARE_OFF, quote, now_us)
        user, symbol = self.users[book.key[4]].user_id, self._names[book.key[2]]
        told = {"user": user, "symbol": symbol, "shares": book.quantity}
        if at_us >= plan.cancel_us:
            log.critical("what rests is cancelled: the session ends", **told)  # by the steps of each order
        elif at_us >= plan.hand_over_us:
            log.critical("a position is left to the human: close it by hand", **told)
        elif at_us >= plan.alarm_us:
            log.critical("a position is not closed yet", **told)
