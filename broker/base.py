"""What a venue is: the one Protocol behind which paper and Angel One stand.

Two kinds differ in where their truth lies. A `StoreVenue` (paper) has no outside world: the order
room plays its answers into the same transaction that holds the order. A `RemoteVenue` is asked over a
wire: the claim is committed first, then ONE request goes out, and a lost answer is `Unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from shared.models import OrderType, Product, Quote, Side


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """What a venue needs to know of an order.

    Attributes:
        side: BUY or SELL.
        quantity: Shares still to be filled, > 0.
        order_type: MARKET or LIMIT.
        product: INTRADAY or DELIVERY.
        price_paise: The limit of a LIMIT order; the reference of a MARKET order.
        entry: False for an exit, which has no time limit.
        placed_us: Market time at which it reached the venue, microseconds since the epoch.
        symbol: Trading symbol.
        tick_paise: Price grid.
        met: A price has been held against it since it was placed.
        slippage_bps: Half spread and slippage of a fill, 1/100 of a percent.
    """

    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    price_paise: int
    entry: bool
    placed_us: int
    symbol: str
    tick_paise: int
    slippage_bps: int
    met: bool = False


class VenueFill(msgspec.Struct, frozen=True, gc=False):
    """Shares filled at one price, with the quote that gave it.

    Attributes:
        quantity: Shares, > 0.
        price_paise: Per share, on the grid.
        at_us: Market time.
        quote_paise, quote_at_us: The quote used.
    """

    quantity: int
    price_paise: int
    at_us: int
    quote_paise: int
    quote_at_us: int


@dataclass(frozen=True, slots=True)
class VenueCancel:
    """The venue took the rest of the order off its book."""

    reason: str


class StoreVenue(Protocol):
    """A venue whose answers are played into the order store's own transaction."""

    name: str
    profile: str

    def place(self, terms: OrderTerms, quote: Quote | None) -> VenueFill | None:
        """Take an order; return what fills at once, or None where it rests."""
        ...

    def match(self, terms: OrderTerms, quote: Quote) -> VenueFill | VenueCancel | None:
        """Hold a resting order against a newer quote."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order."""

    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The venue refused the order, and says so in words that are known to mean it."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request provably did not leave us."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer is lost, late or not understood: the order may be at the venue."""

    reason: str


PlaceOutcome = Accepted | Rejected | NotSent | Unknown


class RemoteVenue(Protocol):
    """A venue behind a wire."""

    name: str

    async def place(self, tag: str, terms: OrderTerms) -> PlaceOutcome:
        """Send one order, once; never raise for a lost answer and never retry.

        Args:
            tag: 17 characters, goes out as `ordertag`; at most one venue order may carry it.
            terms: The order.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
