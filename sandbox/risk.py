"""What broker and exchange check of an order's terms and of its owner's money and shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sandbox.accounts import Account
from sandbox.intake import Refusal, Wanted
from sandbox.market_clock import Instant
from sandbox.orders import Order
from sandbox.prices import Prices
from sandbox.switches import Switches
from shared.instruments import Instrument

PROTECTION_BPS = 50
"""How far from the price a MARKET order may fill where it is converted, 1/100 of a percent."""


@dataclass(frozen=True, slots=True)
class Risk:
    """Looks at the market and at the switches; keeps nothing."""

    prices: Prices
    switches: Switches

    def allowed(self, wanted: Wanted, now: Instant) -> Wanted | Refusal:
        """Return what the policy for MARKET orders and the price band leave of *wanted*."""
        if wanted.order_type.endswith("MARKET"):
            if self.switches.market_policy == "refuse":
                return Refusal("AB1007", "Market orders are not allowed for algo trading")
            wanted = replace(wanted, price=0)
            if self.switches.market_policy == "convert" and wanted.order_type == "MARKET":
                price = self.protected(wanted.instrument, wanted.side, now)
                wanted = replace(wanted, order_type="LIMIT", price=price)
        return self._beyond_band(wanted, now) or wanted

    def protected(self, instrument: Instrument, side: str, now: Instant) -> int:
        """Return the limit that a MARKET order is given, paise; within the band."""
        price, tick = self.prices.last(instrument, now), instrument.tick_paise
        lower, upper = self.prices.band(instrument, now)
        away = price * PROTECTION_BPS // 10_000
        if side == "BUY":
            return min((price + away) // tick * tick, upper)
        return max(-(-(price - away) // tick) * tick, lower)

    def rejection(self, order: Order, account: Account, resting: Iterable[Order], now: Instant) -> str:
        """Return why *order* is rejected once it has been accepted, or nothing.

        Args:
            order: As it would be.
            account: Its client's; without a reserve for *order* itself.
            resting: All working orders of its instrument.
            now: The market's time.
        """
        instrument = order.instrument
        freeze = instrument.freeze_quantity
        if freeze is not None and order.quantity >= freeze:
            return f"Order quantity exceeds the freeze quantity {freeze} of {instrument.trading_symbol}"
        promised = sum(
            each.remaining
            for each in resting
            if each.client == order.client and each is not order
            if each.side == "SELL" and each.product == "DELIVERY"
        )
        if not account.sellable(order, promised):
            return "RMS:Rule: Check holdings including BTST, no holdings present to sell"
        needed = account.needed(order, order.price or self.prices.last(instrument, now))
        if needed and needed > account.available:  # what closes is never a matter of money
            return (
                "Your order has been rejected due to Insufficient Funds. Available funds - Rs. "
                f"{account.available / 100:,.2f} . You require Rs. {needed / 100:,.2f} funds to execute "
                "this order."
            )
        return ""

    def _beyond_band(self, wanted: Wanted, now: Instant) -> Refusal | None:
        lower, upper = self.prices.band(wanted.instrument, now)
        for price in (wanted.price, wanted.trigger):
            if price and not lower <= price <= upper:
                return Refusal(
                    self.switches.lpp_code,
                    f"Price {price / 100:.2f} is beyond the Limit Price Protection range of "
                    f"{wanted.instrument.trading_symbol}: {lower / 100:.2f} to {upper / 100:.2f}. "
                    "Place the order within the range.",
                )
        return None
