"""The shadow venue: says what would have been sent, and sends nothing.

Whoever goes from paper to a broker sees the entries that would leave for them, sized and checked as theirs.
No position ever comes of it: each order ends CANCELLED, and there is nothing to exit.
"""

from __future__ import annotations

from decimal import Decimal

from broker.base import OrderTerms, VenueAnswer, VenueCancel
from shared.models import OrderType, Quote


class ShadowVenue:
    """A venue without an outside world; holds no credential and no address."""

    name = "shadow"
    profile = ""

    def place(self, terms: OrderTerms, quote: Quote | None) -> VenueCancel:
        """Say what would have been sent."""
        return VenueCancel(f"shadow: {_told(terms)} would have been sent")

    def match(self, terms: OrderTerms, quote: Quote) -> VenueAnswer:
        """End what another venue has left resting."""
        return self.place(terms, quote)


def make(profile: str) -> ShadowVenue:
    """Return a shadow venue; a profile of fills means nothing here."""
    return ShadowVenue()


def _told(terms: OrderTerms) -> str:
    price = Decimal(terms.price_paise) / 100
    what = f"{terms.side} {terms.quantity} {terms.symbol} {terms.product}"
    if terms.order_type is OrderType.MARKET:
        return f"{what} as a LIMIT with protection near {price:.2f}"
    trigger = f", trigger {Decimal(terms.trigger_paise) / 100:.2f}" if terms.trigger_paise else ""
    return f"{what} {terms.order_type} at {price:.2f}{trigger}"
