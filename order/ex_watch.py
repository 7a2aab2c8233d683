"""Open positions that meet an ex-date: found when a market comes to the day, and told aloud."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from order.books import Book
from order.execution import Execution
from shared.clock import ist_day
from shared.ex_dates import ExDate
from shared.models import is_rehearsal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Met:
    """An open book and what has changed its basis."""

    book: Book
    ex_date: ExDate


class ExWatch:
    """Looks at each market once a day.

    A book keeps its shares and its cost as they were traded: how many there are now only the broker can say.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def note(self, run: str, day: int) -> None:
        """Take note at start that the books of market *run* were last written on *day*."""
        self._seen[run] = max(day, self._seen.get(run, 0))

    def look(self, desk: Execution, run: str, newest: int, now_us: int) -> list[Met]:
        """Return the open books of *run* that have met an ex-date since the last look; each is logged.

        Args:
            desk: Knows the books.
            run: The market.
            newest: The day that it has come to, days since the epoch in IST; a live one is on the wall's.
            now_us: Wall time.
        """
        day = ist_day(now_us) if run == "live" else newest
        since = self._seen.get(run, day)
        self._seen[run] = max(day, since)
        if day <= since or is_rehearsal(run):
            return []
        found = [
            Met(book, ex_date)
            for book in desk.open_books(run)
            for ex_date in desk.calendar.ex_dates.between(desk.name_of(book.key[2]), since, day)
        ]
        for met in found:
            log.error(
                "an open position met an ex-date: its stop, its average and its shares are of before",
                user=desk.users[met.book.key[4]].user_id,
                strategy=desk.name_of(met.book.key[1]),
                shares=met.book.quantity,
                what=str(met.ex_date),
            )
        return found
