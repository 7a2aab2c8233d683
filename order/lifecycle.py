"""The life of an order as one table: state and event give the next state, all else is illegal.

The table is complete for venues whose answer may be lost; paper walks a part of it.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from shared.models import OrderState as S


class Event(StrEnum):
    """What can happen to an order."""

    __hash__ = str.__hash__

    REFUSE = "refuse"
    """A rule of ours says no, before anything is sent."""
    EXPIRE = "expire"
    """Its validity ended: ours before a send, the venue's after."""
    WITHDRAW = "withdraw"
    """We no longer want it and it was not sent."""
    CLAIM = "claim"
    """It will be sent now; committed before the send."""
    NOT_SENT = "not_sent"
    """The send provably did not leave us."""
    ACCEPT = "accept"
    """The venue has it."""
    REJECT = "reject"
    """The venue or the exchange says no."""
    LOSE = "lose"
    """The answer is lost: it may be at the venue, or not."""
    FILL = "fill"
    """Part of it is filled."""
    COMPLETE = "complete"
    """The last of it is filled."""
    CANCEL = "cancel"
    """The venue confirms that the rest is cancelled."""
    CONFIRM_ABSENT = "confirm_absent"
    """Good evidence that the venue never had it."""
    DOUBT = "doubt"
    """The evidence does not settle it; a human must."""


_AT_VENUE = {
    Event.FILL: S.PARTIALLY_FILLED,
    Event.COMPLETE: S.FILLED,
    Event.CANCEL: S.CANCELLED,
    Event.EXPIRE: S.EXPIRED,
    Event.REJECT: S.REJECTED,
    Event.DOUBT: S.REVIEW,
}
# A fill may overtake its acceptance, so what can happen at the venue can happen while sending, too.
_MAYBE_AT_VENUE = {**_AT_VENUE, Event.ACCEPT: S.ACCEPTED}

TABLE: dict[S, dict[Event, S]] = {
    S.NEW: {
        Event.CLAIM: S.SENDING,
        Event.REFUSE: S.REFUSED,
        Event.EXPIRE: S.EXPIRED,
        Event.WITHDRAW: S.CANCELLED,
    },
    S.SENDING: {**_MAYBE_AT_VENUE, Event.NOT_SENT: S.NEW, Event.LOSE: S.UNKNOWN},
    S.UNKNOWN: {**_MAYBE_AT_VENUE, Event.CONFIRM_ABSENT: S.ABSENT, Event.NOT_SENT: S.NEW},
    S.ACCEPTED: _AT_VENUE,
    S.PARTIALLY_FILLED: _AT_VENUE,
    S.REVIEW: {**_MAYBE_AT_VENUE, Event.CONFIRM_ABSENT: S.ABSENT},
    # A cancel that lost the race: the fill is the truth.
    S.CANCELLED: {Event.FILL: S.CANCELLED, Event.COMPLETE: S.FILLED},
    # Found after all: a late double is booked and shown, never hidden.
    S.ABSENT: {Event.ACCEPT: S.ACCEPTED, Event.FILL: S.PARTIALLY_FILLED, Event.COMPLETE: S.FILLED},
    S.FILLED: {},
    S.REJECTED: {Event.ACCEPT: S.ACCEPTED, Event.FILL: S.PARTIALLY_FILLED, Event.COMPLETE: S.FILLED},
    S.REFUSED: {},
    S.EXPIRED: {Event.FILL: S.EXPIRED, Event.COMPLETE: S.FILLED},
}


class IllegalTransition(Exception):
    """An event that the state does not allow: a bug here or a lie from outside; never ignored."""


def step(state: S, event: Event) -> S:
    """Return the state after *event*.

    Raises:
        IllegalTransition: The table has no such move.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransition(f"an order that is {state} cannot {event}") from None


PLACED = (Event.CLAIM, Event.ACCEPT)
"""What an order walks in one transaction at a venue in this store."""

FILLED_AT_ONCE = (*PLACED, Event.COMPLETE)


@cache
def walk(state: S, events: tuple[Event, ...]) -> tuple[S, str]:
    """Return where *events* lead from *state*, and the states passed on the way (`>NEXT>NEXT`).

    Raises:
        IllegalTransition: The table has no such move.
    """
    path = ""
    for event in events:
        state = step(state, event)
        path += ">" + state
    return state, path
