"""Whose order goes out first: the users of a signal take turns, and the store tells how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from shared.store.port import Connection

T = TypeVar("T")
_DIGITS = 8
_HEX = 16


def in_turn(seats: Sequence[T], signal_id: str) -> Sequence[T]:
    """Return *seats* beginning with another one from signal to signal, as the signal's id has it.

    Ids are digests, so each seat is as often first as any other; and a signal that is decided again after a
    crash, or out of the journal, finds the same order, which a counter in memory would not.

    Args:
        seats: In a fixed order.
        signal_id: Hexadecimal.
    """
    first = int(signal_id[:_DIGITS], _HEX) % len(seats) if seats else 0
    return (*seats[first:], *seats[:first]) if first else seats


@dataclass(frozen=True, slots=True)
class FanOut:
    """How the orders of one signal went out.

    Attributes:
        users: Numbers of the users whose orders did, the first one first; those on paper before the others.
        spread_us: From the first claim of an order for a broker to the last user's; None where there are
            fewer than two users at brokers.
    """

    users: tuple[int, ...] = ()
    spread_us: int | None = None

    def place(self, user_no: int) -> int:
        """Return a user's place from 1; 0 where nothing went out."""
        return self.users.index(user_no) + 1 if user_no in self.users else 0


def read_fan_out(sql: Connection, signal_no: int) -> FanOut:
    """Return how a signal's orders went out, by the numbers of paper and the claims for brokers."""
    rows = sql.execute(
        "SELECT o.user_no, min(venue_no), min(nullif(sent_us, 0)) FROM orders o"
        " LEFT JOIN venue_orders USING (signal_no, user_no, leg, slice, attempt)"
        " WHERE o.signal_no = ? AND purpose != 'STOP' GROUP BY o.user_no",
        (signal_no,),
    )
    sent = sorted(
        (int(sent_us or 0), int(venue_no or 0), int(user_no))
        for user_no, venue_no, sent_us in list(rows)
        if venue_no is not None or sent_us is not None
    )
    at_brokers = [sent_us for sent_us, _, _ in sent if sent_us]
    spread_us = at_brokers[-1] - at_brokers[0] if len(at_brokers) > 1 else None
    return FanOut(tuple(user_no for _, _, user_no in sent), spread_us)
