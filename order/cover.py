"""What a broker's account shows beside our books: how much of a position an exit may sell.

The broker's net is read now and then, its orders each second. Between two readings of the net it moves by our
own fills, which we book, and by others' orders, which the orders show: so a close by hand counts at once. A
net that is too old counts no more, and the book alone says what is sold: missing data blocks no exit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.models import Side

if TYPE_CHECKING:
    from broker.base import VenueOrder

Key = tuple[str, str]
"""Symbol and product."""

NET_OLD_US = 180_000_000
"""A net that was read so long ago counts no more; it is read every minute."""

ORDERS_OLD_US = 90_000_000
"""The same for others' orders; they are read every half minute where nothing is at work."""


@dataclass(slots=True)
class Cover:
    """Of one account; all in net shares by symbol and product, negative is short.

    Attributes:
        beyond: The broker's net that neither our books nor others' orders of the day explain.
        sure: The same where nothing was unexplained, or the same thing twice: no glance between two fills.
        net_us: Wall time of the comparison; 0 before the first.
        others: Filled by others' orders in the latest whole reading, without what our books have as closes.
        orders_us: Wall time of that reading.
    """

    beyond: dict[Key, int] = field(default_factory=dict)
    sure: dict[Key, int] = field(default_factory=dict)
    net_us: int = 0
    others: dict[Key, int] = field(default_factory=dict)
    orders_us: int = 0

    def compared(
        self, nets: Mapping[Key, int], ours: Mapping[Key, int], unclear: Collection[Key], now_us: int
    ) -> None:
        """Take the broker's *nets*, read while nothing of ours was in doubt.

        Args:
            nets, ours: The broker's, and our books'.
            unclear: What is unexplained, and was not the same before.
            now_us: Wall time.
        """
        keys = {*nets, *ours, *self.others, *self.beyond}
        self.beyond = {
            key: nets.get(key, 0) - ours.get(key, 0) - self.others.get(key, 0) for key in keys
        }
        self.sure.update({key: shares for key, shares in self.beyond.items() if key not in unclear})
        self.net_us = now_us

    def read(
        self,
        rows: Sequence[VenueOrder],
        is_ours: Callable[[VenueOrder], bool],
        booked: Mapping[str, int],
        asked_us: int,
    ) -> None:
        """Take a whole reading of the broker's orders.

        Args:
            rows: All of the day.
            is_ours: Whether a row is one of our orders.
            booked: Shares of others' orders that our books have as closes, by the broker's id.
            asked_us: Wall time just before it was asked for.
        """
        self.others = {}
        for row in rows:
            shares = max(row.filled - booked.get(row.venue_order_id, 0), 0) if row.filled else 0
            if shares and not is_ours(row):
                key = row.symbol, row.product.value
                signed = shares if row.side is Side.BUY else -shares
                self.others[key] = self.others.get(key, 0) + signed
        self.orders_us = asked_us

    def booked(self, key: Key, side: Side, shares: int) -> None:
        """Note that our books have *shares* of another's order as a close from now on."""
        signed = shares if side is Side.BUY else -shares
        self.others[key] = self.others.get(key, 0) - signed

    def net(self, key: Key, ours: int, now_us: int) -> int | None:
        """Return the broker's net now; None where no reading is young enough.

        Args:
            key: Of what.
            ours: Net of our books now.
            now_us: Wall time.
        """
        if now_us - self.net_us > NET_OLD_US or now_us - self.orders_us > ORDERS_OLD_US:
            return None
        return ours + self.others.get(key, 0) + self.beyond.get(key, 0)

    def steady(self, key: Key) -> bool:
        """Whether the latest comparison showed of *key* what is sure."""
        return self.beyond.get(key, 0) == self.sure.get(key, 0)

    def moved(self, key: Key, net: int, ours: int) -> bool:
        """Return whether the broker's *net*, just read, is not what *ours* and others' orders make it."""
        return net - ours - self.others.get(key, 0) != self.sure.get(key, 0)
