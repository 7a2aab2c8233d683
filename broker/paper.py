"""The paper venue: fills out of quotes, with the costs that real orders pay.

`realistic`: latency 300 ms, half spread and slippage on each side, at most 10 % of the traded volume, a
MARKET entry that has met a price gives up after 10 s, a LIMIT fills only when traded through, an SL_LIMIT
wakes at its trigger and is a LIMIT from then on, at double slippage. `instant`: full fill at once, slippage
only; for tests, benches and the first demonstration.

All times are market time, so that a replay fills the same at any speed.
"""

from __future__ import annotations

from functools import lru_cache

from broker.base import OrderTerms, VenueAnswer, VenueCancel, VenueFill, VenueWake
from shared.clock import DAY_US, IST_OFFSET_US, ist_day
from shared.errors import ConfigurationError
from shared.models import OrderType, Quote, Side

LATENCY_US = 300_000
ENTRY_PATIENCE_US = 10_000_000
VOLUME_SHARE = 10
"""One part in … of the traded volume may be ours."""

_MINUTE_US = 60_000_000
_OPENING = (9 * 60 + 15, 9 * 60 + 20)
_CLOSING = (15 * 60 + 15, 15 * 60 + 30)
"""Minutes of the day (IST) in which the slippage doubles: 09:15-09:20 and the last 15 minutes."""

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_BUY, _MARKET = Side.BUY, OrderType.MARKET

PROFILES = ("realistic", "instant")


class PaperVenue:
    """A venue without an outside world; holds no credential and no address."""

    name = "paper"

    def __init__(self, profile: str = "realistic") -> None:
        self.profile = profile
        self._instant = profile == "instant"

    def place(self, terms: OrderTerms, quote: Quote | None) -> VenueFill | None:
        """Take an order; return what fills at once, or None where it rests.

        Without any quote a MARKET order fills in full around its reference price; a stop sleeps.
        """
        if terms.trigger_paise:
            return None
        if quote is None:
            return _fill(terms, terms.quantity, terms.price_paise, terms.placed_us)
        if self._instant and _tradable(terms, quote.price_paise):
            return _fill(terms, terms.quantity, quote.price_paise, quote.at_us)
        return None

    def match(self, terms: OrderTerms, quote: Quote) -> VenueAnswer:
        """Hold a resting order against a newer quote."""
        age_us = quote.at_us - terms.placed_us
        if not self._instant and age_us < LATENCY_US:
            return None
        market_entry = terms.entry and terms.order_type is _MARKET
        # Recorded bars give one price a minute: an entry gives up only after it has met one.
        if market_entry and terms.met and age_us > ENTRY_PATIENCE_US:
            return VenueCancel("not filled within 10 s")
        if terms.order_type is not _MARKET and ist_day(quote.at_us) != ist_day(terms.placed_us):
            return VenueCancel("the day is over")
        if terms.trigger_paise:
            return VenueWake() if _reached(terms, quote.price_paise) else None
        if not _tradable(terms, quote.price_paise):
            return None
        room = terms.quantity if self._instant else min(terms.quantity, quote.volume // VOLUME_SHARE)
        if room <= 0:
            return None
        return _fill(terms, room, quote.price_paise, quote.at_us)


def make(profile: str) -> PaperVenue:
    """Return a paper venue.

    Raises:
        ConfigurationError: Unknown profile.
    """
    if profile not in PROFILES:
        raise ConfigurationError(
            f"PAPER_PROFILE {profile!r} is unknown.", remedy=f"One of {', '.join(PROFILES)}."
        )
    return PaperVenue(profile)


def _reached(terms: OrderTerms, price_paise: int) -> bool:
    if terms.side is _BUY:
        return price_paise >= terms.trigger_paise
    return price_paise <= terms.trigger_paise


def _tradable(terms: OrderTerms, price_paise: int) -> bool:
    if terms.order_type is _MARKET:
        return True
    if terms.side is _BUY:
        return price_paise < terms.price_paise
    return price_paise > terms.price_paise


def _fill(terms: OrderTerms, quantity: int, quote_paise: int, at_us: int) -> VenueFill:
    bps = terms.slippage_bps * (2 if terms.stop else 1)
    price = _price(terms.side is _BUY, quote_paise, at_us, bps, terms.tick_paise)
    if terms.order_type is not _MARKET:
        limit = terms.price_paise
        price = min(price, limit) if terms.side is _BUY else max(price, limit)
    return VenueFill(quantity, price, at_us, quote_paise, at_us)


@lru_cache(maxsize=1024)
def _price(buying: bool, quote_paise: int, at_us: int, slippage_bps: int, tick: int) -> int:
    bps = slippage_bps * (2 if _is_wide(at_us) else 1)
    # Rounded up to whole ticks, at least one: a fill is never better than the quote.
    slip = max(1, -(-quote_paise * bps // (10_000 * tick))) * tick
    return _up(quote_paise + slip, tick) if buying else max(tick, (quote_paise - slip) // tick * tick)


def _up(price_paise: int, tick: int) -> int:
    return -(-price_paise // tick) * tick


def _is_wide(at_us: int) -> bool:
    minute = (at_us + IST_OFFSET_US) % DAY_US // _MINUTE_US
    return _OPENING[0] <= minute < _OPENING[1] or _CLOSING[0] <= minute < _CLOSING[1]
