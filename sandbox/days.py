"""Market days: what the books of one show, and what its end does to positions and holdings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from sandbox.accounts import Account, Moved
from sandbox.orders import Order
from sandbox.tape import next_day
from shared.clock import DAY_US, IST_OFFSET_US, ist_day
from shared.instruments import Instruments


class Days:
    """The present market day of all accounts.

    Args:
        accounts: By client.
        apart: Whether each market day has books of its own; else all days of the sandbox are one.

    Attributes:
        day: Days since 1970-01-01 in India; a weekend belongs to the Friday before. 0 until one is reached.
    """

    def __init__(self, accounts: Mapping[str, Account], *, apart: bool) -> None:
        self.day = 0
        self.apart = apart
        self._accounts = accounts

    @property
    def begin_us(self) -> int:
        """Midnight before the present day, microseconds since the epoch, UTC; 0 where all days are one."""
        return self.day * DAY_US - IST_OFFSET_US if self.apart and self.day else 0

    def reach(self, day: int) -> None:
        """Let market days pass until *day*."""
        self.day = self.day or day
        while (following := next_day(self.day)) <= day:
            self.day = following
            if self.apart:
                for account in self._accounts.values():
                    account.end_day()

    def shown(self, orders: Iterable[Order]) -> list[Order]:
        """Return the orders that the book of the present day shows: what had ended before is left out.

        Where no night lies between two sessions, orders that the change of day cancels end on the new one:
        their owners can still see it.
        """
        begin_us = self.begin_us
        return [each for each in orders if not (each.done and each.updated_us < begin_us)]

    def replay(self, orders: Iterable[Order], moves: Iterable[Moved], instruments: Instruments) -> None:
        """Book executions and conversions of earlier lives, each on its day."""
        booked: dict[int, list[Callable[[], None]]] = defaultdict(list)
        latest: dict[tuple[str, str], int] = {}
        for order in orders:
            account = self._accounts[order.client]
            for trade in order.trades:
                day = ist_day(trade.at_us)
                booked[day].append(partial(account.book, order, trade))
                key = order.client, order.instrument.symbol
                latest[key] = max(latest.get(key, 0), day)
        for moved in moves:
            if moved.client in self._accounts and moved.symbol in instruments:
                move = partial(self._accounts[moved.client].move, instruments.get(moved.symbol), moved)
                # One that was kept without its day can only be of a day with an execution, or later.
                booked[moved.day or latest.get((moved.client, moved.symbol), self.day)].append(move)
        for day in sorted(booked):
            self.reach(day)
            for book in booked[day]:
                book()
