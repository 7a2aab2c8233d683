"""Prices for exits while the market feed is silent: asked of the account's own connection, now and then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import structlog

from broker.base import RemoteVenue
from order.bookkeeper import Bookkeeper
from shared.errors import LockHeld, LoginRefused, StoreError, VenueUnavailable
from shared.models import Quote
from shared.store.thread import OwnedThread

PRICE_S = 3.0
"""Between two questions: as often as an exit looks for a new anchor."""

log = structlog.get_logger(__name__)


class PriceWatch:
    """Of one account.

    Attributes:
        venue: The account; another session of it may take its place.

    Args:
        user_no: Whose.
        venue: The account.
        thread: Owns the store.
        books: Who keeps the books, on that thread.
        say: Takes what is wrong, in words.
    """

    def __init__(
        self,
        user_no: int,
        venue: RemoteVenue,
        thread: OwnedThread,
        books: Bookkeeper,
        say: Callable[[str], None],
    ) -> None:
        self._user_no = user_no
        self.venue = venue
        self._thread = thread
        self._books = books
        self._say = say
        self._asked_s = 0.0
        self._blind = False

    @property
    def due(self) -> bool:
        """Whether an exit has no fresh price, and it is time to ask for one."""
        blind = bool(self._books.desk.line(self._user_no).blind)
        if blind is not self._blind:
            self._blind = blind
            told = log.warning if blind else log.info
            told("exits have no fresh price from the feed" if blind else "exits have fresh prices again")
        return blind and self._books.clock.boot_s() - self._asked_s >= PRICE_S

    async def look(self) -> None:
        """Ask once, for the touch or, where it cannot be had, for the last price of the positions."""
        self._asked_s = self._books.clock.boot_s()
        symbols = sorted(self._books.desk.line(self._user_no).blind)
        found: list[Quote] = []
        with contextlib.suppress(VenueUnavailable, LoginRefused):
            found = await self.venue.prices(symbols)
        if missing := set(symbols) - {quote.symbol for quote in found}:
            with contextlib.suppress(VenueUnavailable, LoginRefused):
                now_us = self._books.clock.now_us()
                found += [
                    Quote(each.symbol, each.price_paise, now_us, 0, now_us)
                    for each in await self.venue.positions()
                    if each.symbol in missing and each.price_paise
                ]
        if found:
            try:
                await self._thread.run(self._books.account_prices, self._user_no, found)
            except (StoreError, LockHeld) as error:
                self._say(error.what)
