"""Good-till-triggered rules: they outlive the day and become LIMIT orders when the price reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.hub import Hub
from sandbox.intake import Refusal, rupees, whole
from sandbox.market_clock import Instant
from sandbox.state import Rule as Kept
from shared.instruments import Instrument

LIFE_DAYS = 365
STATUSES = ("NEW", "ACTIVE", "SENTTOEXCHANGE", "CANCELLED")

Body = Mapping[str, Any]


@dataclass(slots=True)
class Rule:
    """One rule; prices in paise. *below*: it waits for the price to fall to the trigger."""

    number: int
    client: str
    instrument: Instrument
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

    def row(self) -> dict[str, Any]:
        """Return the rule object."""
        return {
            "id": str(self.number),
            "status": self.status,
            "createddate": _iso(self.created_us),
            "updateddate": _iso(self.updated_us),
            "expirydate": _iso(self.created_us, LIFE_DAYS),
            "clientid": self.client,
            "tradingsymbol": self.instrument.trading_symbol,
            "symboltoken": self.instrument.token,
            "exchange": self.instrument.exchange,
            "transactiontype": self.side,
            "producttype": self.product,
            "price": f"{self.price / 100:.2f}",
            "qty": str(self.quantity),
            "triggerprice": f"{self.trigger / 100:.2f}",
            "disclosedqty": str(self.disclosed),
        }


@dataclass(slots=True)
class Gtt:
    """All rules of all clients."""

    hub: Hub
    rules: dict[int, Rule] = field(default_factory=dict)

    def create(self, client: str, body: Body) -> object:
        """Make a rule."""
        exchange = self.hub.exchange
        instrument = exchange.intake.instrument(body)
        if isinstance(instrument, Refusal) or not instrument.tradable:
            return Refusal("AB9011", "Invalid symbol token")
        read = _terms(body)
        if isinstance(read, Refusal):
            return read
        price, trigger, quantity, disclosed = read
        side, product = str(body.get("transactiontype")), str(body.get("producttype"))
        if side not in ("BUY", "SELL"):
            return Refusal("AB9014", "Invalid order side")
        if product not in ("DELIVERY", "MARGIN"):
            return Refusal("AB9015", "Invalid product type")
        now = self.hub.now()
        below = trigger <= self.hub.prices.last(instrument, now)
        number = len(self.rules) + 1
        rule = self.rules[number] = Rule(
            number, client, instrument, side, product, price, trigger, quantity, disclosed, below, now.us,
            now.us,
        )  # fmt: skip
        self._keep(rule)
        return {"id": str(number)}

    def modify(self, client: str, body: Body) -> object:
        """Change prices and quantity of a rule."""
        rule = self._open(client, body)
        if isinstance(rule, Refusal):
            return rule
        read = _terms(body)
        if isinstance(read, Refusal):
            return read
        rule.price, rule.trigger, rule.quantity, rule.disclosed = read
        rule.updated_us = self.hub.now().us
        self._keep(rule)
        return {"id": str(rule.number)}

    def cancel(self, client: str, body: Body) -> object:
        """Cancel a rule."""
        rule = self._open(client, body)
        if isinstance(rule, Refusal):
            return rule
        rule.status, rule.updated_us = "CANCELLED", self.hub.now().us
        self._keep(rule)
        return {"id": str(rule.number)}

    def details(self, client: str, body: Body) -> object:
        """Return one rule."""
        number = whole(body.get("id"))
        rule = self.rules.get(number or 0)
        return rule.row() if rule is not None and rule.client == client else _NO_RULE

    def listing(self, client: str, body: Body) -> object:
        """Return a page of the client's rules."""
        wanted = body.get("status")
        page, count = whole(body.get("page") or 1), whole(body.get("count") or 10)
        if not isinstance(wanted, list):
            return Refusal("AB9004", "Invalid status array size")
        if not page:
            return Refusal("AB9017", "Invalid page")
        if not count:
            return Refusal("AB9018", "Invalid count")
        rows = [
            rule.row()
            for rule in self.rules.values()
            if rule.client == client and ("FORALL" in wanted or rule.status in wanted)
        ]
        return rows[(page - 1) * count : page * count] or None

    def advance(self, now: Instant, wall_us: int) -> None:
        """Send rules whose trigger has been reached to the exchange."""
        for rule in self.rules.values():
            if rule.status != "NEW" or not now.open:
                continue
            last = self.hub.prices.last(rule.instrument, now)
            if last <= rule.trigger if rule.below else last >= rule.trigger:
                rule.status, rule.updated_us = "SENTTOEXCHANGE", now.us
                self._keep(rule)
                body = {
                    "variety": "NORMAL",
                    "tradingsymbol": rule.instrument.trading_symbol,
                    "symboltoken": rule.instrument.token,
                    "transactiontype": rule.side,
                    "exchange": rule.instrument.exchange,
                    "ordertype": "LIMIT",
                    "producttype": "DELIVERY" if rule.product == "DELIVERY" else "CARRYFORWARD",
                    "duration": "DAY",
                    "price": f"{rule.price / 100:.2f}",
                    "quantity": str(rule.quantity),
                }
                self.hub.exchange.place(rule.client, body, now, wall_us)

    def restore(self, kept: Kept) -> None:
        """Take a rule of an earlier life."""
        instrument = self.hub.instruments.get(kept.symbol)
        given = {name: getattr(kept, name) for name in kept.__struct_fields__ if name != "symbol"}
        self.rules[kept.number] = Rule(instrument=instrument, **given)

    def _keep(self, rule: Rule) -> None:
        given = {name: getattr(rule, name) for name in Kept.__struct_fields__ if name != "symbol"}
        self.hub.state.rule(Kept(symbol=rule.instrument.symbol, **given))

    def _open(self, client: str, body: Body) -> Rule | Refusal:
        rule = self.rules.get(whole(body.get("id")) or 0)
        if rule is None or rule.client != client or rule.status not in ("NEW", "ACTIVE"):
            return _NO_RULE
        return rule


_NO_RULE = Refusal("AB9013", "Invalid rule id")


def _terms(body: Body) -> tuple[int, int, int, int] | Refusal:
    price, trigger = rupees(body.get("price")), rupees(body.get("triggerprice"))
    quantity, disclosed = whole(body.get("qty")), whole(body.get("disclosedqty") or 0)
    if not quantity:
        return Refusal("AB9006", "Invalid order quantity")
    if disclosed is None or disclosed > quantity:
        return Refusal("AB9007", "Invalid disclosed quantity")
    if not price:
        return Refusal("AB9008", "Invalid price")
    if not trigger:
        return Refusal("AB9009", "Invalid trigger price")
    return price, trigger, quantity, disclosed


def _iso(us: int, days: int = 0) -> str:
    at = datetime.fromtimestamp(us / 1e6, UTC) + timedelta(days=days)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
