"""Good-till-triggered rules: they outlive the day and become LIMIT orders when the price reaches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.hub import Hub
from sandbox.intake import Refusal, Wanted, rupees, whole
from sandbox.market_clock import Instant
from sandbox.rules import LIFE_DAYS, WAITING, Rule

Body = Mapping[str, Any]


@dataclass(slots=True)
class Gtt:
    """The calls on rules, and their triggers. The rules themselves lie in the sandbox's state."""

    hub: Hub

    def create(self, client: str, body: Body) -> object:
        """Make a rule."""
        instrument = self.hub.exchange.intake.instrument(body)
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
        life_days = whole(body.get("timeperiod") or LIFE_DAYS)
        if not life_days or life_days > LIFE_DAYS:
            return Refusal("AB9016", "Invalid time period")
        now, kept = self.hub.now(), self.hub.state.rules
        rule = Rule(
            max(kept, default=0) + 1, client, instrument.symbol, side, product, price, trigger, quantity,
            disclosed, trigger <= self.hub.prices.last(instrument, now), now.us, now.us, life_days=life_days,
        )  # fmt: skip
        self.hub.state.rule(rule)
        return {"id": str(rule.number)}

    def modify(self, client: str, body: Body) -> object:
        """Change prices and quantity of a rule."""
        rule = self._open(client, body)
        if isinstance(rule, Refusal):
            return rule
        read = _terms(body)
        if isinstance(read, Refusal):
            return read
        rule.price, rule.trigger, rule.quantity, rule.disclosed = read
        return self._changed(rule)

    def cancel(self, client: str, body: Body) -> object:
        """Cancel a rule."""
        rule = self._open(client, body)
        if isinstance(rule, Refusal):
            return rule
        rule.status = "CANCELLED"
        return self._changed(rule)

    def details(self, client: str, body: Body) -> object:
        """Return one rule."""
        rule = self._of(client, body)
        return _NO_RULE if rule is None else self._row(rule)

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
            self._row(rule)
            for rule in self._known()
            if rule.client == client and ("FORALL" in wanted or rule.status in wanted)
        ]
        return rows[(page - 1) * count : page * count] or None

    def advance(self, now: Instant, wall_us: int) -> None:
        """Send rules whose trigger has been reached to the exchange, and end those that are too old."""
        for rule in [each for each in self._known() if each.status in WAITING]:
            instrument = self.hub.instruments.get(rule.symbol)
            if now.us >= rule.expires_us:
                rule.status = "CANCELLED"
                self._changed(rule)
            elif now.open and rule.reached(self.hub.prices.last(instrument, now)):
                rule.status = "SENTTOEXCHANGE"
                wanted = Wanted(
                    instrument, "NORMAL", rule.side, "LIMIT",
                    "DELIVERY" if rule.product == "DELIVERY" else "CARRYFORWARD",
                    "DAY", rule.price, 0, rule.quantity, rule.disclosed, "",
                )  # fmt: skip
                # A kill between the two would lose the order, or send it twice.
                with self.hub.state.together():
                    self._changed(rule)
                    self.hub.exchange.trigger(rule.client, wanted, now, wall_us)

    def _changed(self, rule: Rule) -> dict[str, str]:
        rule.updated_us = self.hub.now().us
        self.hub.state.rule(rule)
        return {"id": str(rule.number)}

    def _known(self) -> Iterator[Rule]:
        """Yield the rules of clients and symbols that are there in this life, oldest first."""
        clients, instruments = self.hub.exchange.accounts, self.hub.instruments
        for rule in self.hub.state.rules.values():
            if rule.client in clients and rule.symbol in instruments:
                yield rule

    def _of(self, client: str, body: Body) -> Rule | None:
        number = whole(body.get("id"))
        return next((each for each in self._known() if (each.number, each.client) == (number, client)), None)

    def _open(self, client: str, body: Body) -> Rule | Refusal:
        rule = self._of(client, body)
        return _NO_RULE if rule is None or rule.status not in WAITING else rule

    def _row(self, rule: Rule) -> dict[str, Any]:
        return rule.row(self.hub.instruments.get(rule.symbol))


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
