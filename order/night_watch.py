"""Rules at a broker, one account's: reads their list where that is due, and carries out what it leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from broker.base import NotSent, PlaceOutcome, RemoteVenue
from order.bookkeeper import Bookkeeper
from order.nights import RuleStep
from order.orders import Order
from shared.errors import (
    ConfigurationError,
    LockHeld,
    LoginRefused,
    RefusedBySafety,
    StoreError,
    VenueUnavailable,
)
from shared.store.thread import OwnedThread

WATCH_S = 5.0
CLAIM_S = 2.0
"""A claim older than this is not sent: whoever was paused in between knows nothing of the world any more."""


class NightWatch:
    """See above.

    Attributes:
        venue: The account; another session of it may take its place.

    Args:
        user_no: Whose.
        venue: The account.
        thread: Owns the store.
        books: Who keeps the books, on that thread.
        dispatch: Takes orders that have to go out.
        say: Takes what is wrong, in words.
    """

    def __init__(
        self,
        user_no: int,
        venue: RemoteVenue,
        thread: OwnedThread,
        books: Bookkeeper,
        dispatch: Callable[[Sequence[Order]], None],
        say: Callable[[str], None],
    ) -> None:
        self._user_no = user_no
        self.venue = venue
        self._thread = thread
        self._books = books
        self._dispatch = dispatch
        self._say = say

    async def run(self) -> None:
        """Look again and again; ends when it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.look()
            except (StoreError, LockHeld, VenueUnavailable, LoginRefused) as error:
                self._say(error.what)

    async def look(self) -> None:
        """Look once: one list, then one request after another.

        Raises:
            VenueUnavailable, LoginRefused: The list cannot be had.
            StoreError, LockHeld: The store takes nothing; what was claimed is settled by the next list.
        """
        if not await self._thread.run(self._books.rules_due, self._user_no):
            return
        rules = await self.venue.rules()
        began_s = self._books.clock.boot_s()
        steps, sends = await self._thread.run(self._books.rule_steps, self._user_no, rules)
        self._dispatch(sends)
        for step in steps:
            late = self._books.clock.boot_s() - began_s > CLAIM_S
            outcome = NotSent("its claim was too old") if late else await self._carry_out(step)
            await self._thread.run(self._books.answer_rule, step.book, outcome)

    async def _carry_out(self, step: RuleStep) -> PlaceOutcome:
        try:
            if step.terms is not None:
                return await self.venue.put_rule(step.terms)
            return await self.venue.drop_rule(step.rule_id, step.symbol)
        except (RefusedBySafety, ConfigurationError) as error:
            return NotSent(error.what)
