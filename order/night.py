"""One position's rule at a broker (GTT): what is remembered of it, and how it is recognised without a tag."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from broker.base import VenueOrder, VenueRule
from order.books import BookKey
from shared.models import Product, Side

NIGHT = "night"
"""The kind of mark that keeps a rule, by the numbers of its market, strategy and symbol."""


class NightState(StrEnum):
    """Where a rule is, as we know it."""

    ASKED = "ASKED"
    UNKNOWN = "UNKNOWN"
    """The answer is lost."""
    RESTING = "RESTING"
    DROPPING = "DROPPING"
    """It shall be taken off; the list does not show it yet."""
    TRIGGERED = "TRIGGERED"
    """It has become an order, which is not done or not seen yet."""
    ENDED = "ENDED"


class Night(msgspec.Struct):
    """One position's rule.

    Attributes:
        book: Whose.
        quantity: Shares that it sells.
        trigger_paise, limit_paise: Price that it waits for, and the limit of its order.
        asked_us: Wall time of the latest request about it.
        day: Indian day on which it was asked for, days since the epoch.
        known: Ids of rules like it that stood before.
        reads: Good lists that did not show it, or readings of the books that did not show its order.
        reason: Why it ended.
    """

    book: BookKey
    quantity: int
    trigger_paise: int
    limit_paise: int
    asked_us: int
    day: int
    known: list[str]
    state: NightState = NightState.ASKED
    rule_id: str = ""
    reads: int = 0
    reason: str = ""

    @classmethod
    def stored(cls, value: str) -> Night:
        """Return the rule that a mark's *value* keeps."""
        return msgspec.json.decode(value, type=cls)

    @property
    def holds(self) -> bool:
        """Whether it may still sell."""
        return self.state is not NightState.ENDED

    def is_rule(self, rule: VenueRule, symbol: str) -> bool:
        """Whether *rule*, of the list, can be this one."""
        same = (rule.symbol, rule.side, rule.product) == (symbol, Side.SELL, Product.DELIVERY)
        wanted = (self.quantity, self.trigger_paise, self.limit_paise)
        return same and (rule.quantity, rule.trigger_paise, rule.price_paise) == wanted

    def is_order(self, row: VenueOrder, symbol: str) -> bool:
        """Whether *row*, of the order book, can be the order that it became."""
        same = (row.symbol, row.side, row.product) == (symbol, Side.SELL, Product.DELIVERY)
        return same and (row.quantity, row.price_paise) == (self.quantity, self.limit_paise)
