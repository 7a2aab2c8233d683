"""The switches applied: entries taken off, positions closed, whoever turned them; see `order.switches`."""

from __future__ import annotations

import structlog

from order.books import Book
from order.by_hand import ByHand
from order.orders import MANUAL, Order, Purpose
from order.store import Loaded
from order.switches import SWITCH, Level, Scope, Switch, SwitchView, book_scope, view_of
from shared.clock import ist_day
from shared.instruments import Instrument
from shared.models import Quote

KILLED = "taken off by a switch"

log = structlog.get_logger(__name__)


class Switching(ByHand):
    """Turns switches and does what those that are on demand."""

    def remember(self, loaded: Loaded) -> None:
        """See `Resolver.remember`; takes the stored switches, too."""
        super().remember(loaded)
        for (user_no, kind, what), value in loaded.marks.items():
            if kind == SWITCH:
                house = user_no == self.writer.base
                self.switches.turn(Switch.stored(0 if house else user_no, what, value))

    def turn(self, switch: Switch, now_us: int) -> None:
        """Let *switch* stand, take off what it forbids and close what it does not want."""
        user_no, strategy_id, market = switch.scope
        self.switches.turn(switch)
        self.note_account(user_no or self.writer.base, SWITCH, switch.subject, switch.value, now_us)
        head: list[object] = [user_no, strategy_id, market, switch.level, switch.day, switch.why]
        self.changes.journal.append(self.journal.entry(now_us, SWITCH, head))
        if switch.level.rank >= Level.KILL.rank:
            for order in self._entries():
                if self.killed(order, self.market_us(order.run, order.instrument, now_us)):
                    self.withdraw(order, KILLED, now_us)
        if switch.level is Level.FLATTEN:
            for book in list(self._books.values()):
                if not book.idle and self._within_reach(book):
                    self._flatten(book, None, now_us)
        self.journal_moves("switched", now_us, [user_no, strategy_id, market])

    def trip(
        self, scope: Scope, level: Level, day: int, why: str, now_us: int, *, again: bool = False
    ) -> None:
        """Turn a switch because a limit was met.

        Args:
            scope: Of one market.
            level: A stronger one of the same day stays.
            day: For which it holds, days since the epoch, IST.
            why: The limit, in words.
            now_us: Wall time.
            again: Also where a human has resumed it that day.
        """
        before = self.switches.get(scope)
        if before is not None and before.day == day and before.level.rank >= level.rank:
            return
        if before is None or before.day != day or again or before.level is not Level.OFF:
            log.critical("a limit was met", level=level, why=why, user_no=scope[0], market=scope[2])
            self.turn(Switch(scope, level, day, why, now_us), now_us)

    def views(self) -> list[SwitchView]:
        """Return the switches that are on, the house first."""
        return sorted(
            (view_of(each, self.users[each.scope[0]].user_id if each.scope[0] else "")
             for each in self.switches),
            key=lambda view: (view.user_id, view.strategy_id, view.market),
        )  # fmt: skip

    def scope_of(self, book: Book) -> Scope:
        """Return user number, strategy id and market of *book*."""
        return book_scope(book.key, self._names)

    def keep_flat(self, run: str, symbol: str, quote: Quote, now_us: int) -> None:
        """Close what a FLATTEN does not want in an instrument whose price has come."""
        for account in list(self._accounts.values()):
            for book in list(account.open_books.values()):
                if self._names[book.key[2]] == symbol and self._names[book.key[0]] == run:
                    self._leave_rest(book, quote, now_us)

    def ring_all(self, user_no: int, now_us: int) -> None:
        """See `Bells.ring_all`; what fills after a FLATTEN is closed as well."""
        super().ring_all(user_no, now_us)
        if self.switches.flattening:
            for (number, _), account in self._accounts.items():
                for book in list(account.open_books.values()) if number == user_no else ():
                    self._leave_rest(book, None, now_us)

    # -- inside ----------------------------------------------------------------------------------

    def _entries(self) -> list[Order]:
        return [
            order
            for orders in list(self.at_work.values())
            for order in list(orders.values())
            if order.purpose is Purpose.ENTRY
        ]

    def _leave_rest(self, book: Book, quote: Quote | None, now_us: int) -> None:
        """Close *book* unless that is under way, or waits for an entry whose fate is not known."""
        guard = self.guards.get(book.key)
        waits = book.entering or (guard is not None and guard.exit is not None)
        if abs(book.quantity) > book.exiting and not waits and self._within_reach(book):
            self._flatten(book, quote, now_us)

    def _flatten(self, book: Book, quote: Quote | None, now_us: int) -> None:
        day = self._day(self._names[book.key[0]], self.instruments.get(self._names[book.key[2]]), now_us)
        found = self.switches.strongest(*book_scope(book.key, self._names), day)
        if found is not None and found.level is Level.FLATTEN:
            self.leave(book, f"flattened: {found.why}", quote, now_us)

    def _day(self, run: str, instrument: Instrument, now_us: int) -> int:
        return ist_day(self.market_us(run, instrument, now_us))

    def _within_reach(self, book: Book) -> bool:
        """Whether its market is one that runs, or that needs no prices: another's positions have none."""
        run, symbol = self._names[book.key[0]], self._names[book.key[2]]
        return run in (MANUAL, self.port.run) or self.latest(run, symbol) is not None

