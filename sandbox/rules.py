"""A good-till-triggered rule: as it is kept, and its object as the real service shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.clock import DAY_US
from shared.instruments import Instrument

LIFE_DAYS = 365
WAITING = frozenset({"NEW", "ACTIVE"})
"""States of a rule whose price has not been reached; the others are SENTTOEXCHANGE and CANCELLED."""


class Rule(msgspec.Struct, tag="rule"):
    """One rule; the instrument by its symbol, prices in paise.

    Attributes:
        below: It waits for the price to fall to the trigger, else to rise to it.
        life_days: Days from its making to its end.
    """

    number: int
    client: str
    symbol: str
    side: str
    product: str
    price: int
    trigger: int
    quantity: int
    disclosed: int
    below: bool
    created_us: int
    updated_us: int
    status: str = "NEW"
    life_days: int = LIFE_DAYS

    @property
    def expires_us(self) -> int:
        """When it ends by itself, microseconds since the epoch, UTC."""
        return self.created_us + self.life_days * DAY_US

    def reached(self, last: int) -> bool:
        """Return whether a price of *last* paise sends it to the exchange."""
        return last <= self.trigger if self.below else last >= self.trigger

    def row(self, instrument: Instrument) -> dict[str, Any]:
        """Return the rule object; *instrument* is its own."""
        return {
            "id": str(self.number),
            "status": self.status,
            "createddate": _iso(self.created_us),
            "updateddate": _iso(self.updated_us),
            "expirydate": _iso(self.expires_us),
            "clientid": self.client,
            "tradingsymbol": instrument.trading_symbol,
            "symboltoken": instrument.token,
            "exchange": instrument.exchange,
            "transactiontype": self.side,
            "producttype": self.product,
            "price": f"{self.price / 100:.2f}",
            "qty": str(self.quantity),
            "triggerprice": f"{self.trigger / 100:.2f}",
            "disclosedqty": str(self.disclosed),
        }


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
