"""An ex-date that an open position has met: what is remembered of it."""

from __future__ import annotations

import msgspec

from order.books import BookKey

EX_DATE = "ex_date"
"""The kind of mark that keeps it, by the numbers of the position's book."""


class Met(msgspec.Struct, frozen=True):
    """An ex-date that an open position has met.

    Attributes:
        day: Of the ex-date, days since the epoch.
        what: The ex-date and the levels that it made void, in words.
        waits: Nobody has set new levels since.
    """

    book: BookKey
    day: int
    what: str
    waits: bool = True

    @classmethod
    def stored(cls, value: str) -> Met:
        """Return what a mark's *value* keeps."""
        return msgspec.json.decode(value, type=cls)
