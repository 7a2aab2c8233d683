"""Orders of one family that could meet at the exchange, where self-trade prevention works per PAN. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from order.orders import Order
from shared.models import EXPOSED_STATES, Side

WINDOW_US = 60_000_000
"""So long after an order of one account nothing of the other side is entered by another of its family."""

Place = tuple[str, str, str]
"""Family, market (run) and symbol."""


class Crossings:
    """Who of a family sent what last."""

    def __init__(self) -> None:
        self._last: dict[Place, dict[tuple[int, Side], int]] = {}

    def note(self, order: Order, at_us: int) -> None:
        """Take an order that goes out at market time *at_us*; whoever has no family crosses nobody."""
        user = order.account.user
        if user.family:
            place = user.family, order.run, order.instrument.symbol
            self._last.setdefault(place, {})[user.user_no, order.side] = at_us

    def crossing(
        self, place: Place, user_no: int, side: Side, at_us: int, at_work: Iterable[Order]
    ) -> str | None:
        """Return what an entry of *side* at market time *at_us* could meet, or None.

        Args:
            place: Where.
            user_no: Whose entry; the own orders of an account are kept apart by their owner.
            side: Of the entry.
            at_us: Market time.
            at_work: Orders in that market and symbol that are not done; one that sleeps until a price comes
                cannot be met.
        """
        for (other, way), sent_us in self._last.get(place, {}).items():
            if other != user_no and way is not side and abs(at_us - sent_us) < WINDOW_US:
                seconds = WINDOW_US // 1_000_000
                return f"another account of the family {place[0]} sent a {way} within {seconds} s"
        for order in at_work:
            user = order.account.user
            rests = (order.state in EXPOSED_STATES or order.queued) and not order.trigger_paise
            if rests and user.family == place[0] and user.user_no != user_no and order.side is not side:
                return f"a {order.side} of another account of the family {place[0]} rests"
        return None
