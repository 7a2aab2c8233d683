"""Looks each second whether prices come and the books can be written; the dead-man's ear.

Prices are whatever the engine brings, in this process or over the bus: when it dies, they stop as well.
Replays have no present, and outside the session nobody is missed.
"""

from __future__ import annotations

import asyncio

import structlog

from order.bookkeeper import Bookkeeper
from shared.clock import stopwatch
from shared.errors import LockHeld, StoreError
from shared.models import Quote, is_rehearsal
from shared.quotes import QuoteBoard
from shared.store.thread import OwnedThread

WATCH_S = 1.0
"""Between two looks."""

LIVE = "live"

log = structlog.get_logger(__name__)


class Watch:
    """See above.

    Args:
        board: Where prices come to.
        thread: Owns the store.
        books: Who keeps the books, on that thread.
        silence_s: So long without any price, or without a book that can be written, and entries come off.
    """

    def __init__(self, board: QuoteBoard, thread: OwnedThread, books: Bookkeeper, silence_s: float) -> None:
        self._board = board
        self._thread = thread
        self._books = books
        self._silence_s = silence_s
        self._heard_s = stopwatch(books.clock)
        board.listen(self._hear)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.look()
            except LockHeld as error:
                log.error("the books are another's: nobody is watched any more", why=error.what)
                return

    async def look(self) -> None:
        """Look once.

        Raises:
            LockHeld: The books are another process's by now.
        """
        try:
            await self._thread.run(self._books.try_store, self._silence_s)
            if (since_us := self._quiet_since()) and self._board.run not in self._books.desk.silent:
                await self._thread.run(self._books.hush, self._board.run, since_us)
        except StoreError:
            return  # it was told, and is tried again

    # -- inside ----------------------------------------------------------------------------------

    def _hear(self, _: list[Quote]) -> None:
        self._heard_s = stopwatch(self._books.clock)

    def _quiet_since(self) -> int:
        """Return since when no price has come, where that is too long ago and in the session; else 0."""
        now_us, run = self._books.clock.now_us(), self._board.run
        quiet_s = self._heard_s()
        if not run or run.startswith("replay") or quiet_s < self._silence_s:
            return 0
        if not is_rehearsal(run):
            open_s = self._open_s(now_us) if run == LIVE else 0.0
            quiet_s = min(quiet_s, open_s)  # before the open nobody had to say anything
        return now_us - round(quiet_s * 1e6) if quiet_s >= self._silence_s else 0

    def _open_s(self, now_us: int) -> float:
        """Return for how long something that is traded here has been in continuous trading; 0: it is not."""
        desk = self._books.desk
        symbols = {*self._board.symbols(), *(symbol for _, symbol in list(desk.at_work))}
        found = 0.0
        for instrument in map(desk.instruments.find, symbols):
            auction = instrument is not None and instrument.closing_auction
            session = desk.calendar.session_at(now_us, closing_auction=auction)
            for start_us, end_us in session.windows if session is not None else ():
                if start_us <= now_us < end_us:
                    found = max(found, (now_us - start_us) / 1e6)
        return found
