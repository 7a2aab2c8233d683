"""Inputs out of the journal, given again to a bookkeeper: plain values become what its methods take.

An input's kind is the name of the method; what its parameters are tells how each value is read. So a new
method needs nothing here, unless it takes something that no plain value can stand for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_type_hints

import msgspec

from broker.base import (
    Accepted,
    NotSent,
    PlaceOutcome,
    Rejected,
    Unknown,
    VenueBook,
    VenueOrder,
    VenuePosition,
)
from order.bookkeeper import Bookkeeper, Unreadable
from order.desk import Received
from order.orders import Order
from order.record import ITEM, LOOKS
from order.requests import DirectRequest
from order.users import User
from shared.bus.codec import Poison, decode
from shared.ids import direct_id
from shared.models import OrderType, Product, Quote, Side

OUTCOMES: dict[str, type[Any]] = {kind.__name__: kind for kind in (Accepted, Rejected, NotSent, Unknown)}

Inbox = Mapping[tuple[object, ...], bytes]
"""Payloads that the rows of an entry hold, by engine, epoch and seq."""


class Port:
    """Prices and arming as an input says that they stood.

    Attributes:
        run: The market whose prices these are.
        armed: Users with an account at a broker, by number.
        latched: The latch file lies in the state folder.
    """

    def __init__(self) -> None:
        self.run = ""
        self.latched = False
        self.armed: dict[int, bool] = {}
        self._quotes: dict[str, Quote] = {}

    def latest(self, symbol: str) -> Quote | None:
        """Return the newest quote of *symbol*."""
        return self._quotes.get(symbol)

    def forget(self) -> None:
        """Begin as at a start."""
        self.run, self.latched = "", False
        self.armed.clear()
        self._quotes.clear()

    def see(self, given: Sequence[Any]) -> None:
        """Take the quotes that an input looked at."""
        for look in given[LOOKS] if len(given) > LOOKS else ():
            if isinstance(look, str):
                self._quotes.pop(look, None)
            else:
                quote = msgspec.convert(look, Quote)
                self._quotes[quote.symbol] = quote


class Giver:
    """Gives inputs to a bookkeeper, one after another.

    Args:
        books: Takes them.
    """

    def __init__(self, books: Bookkeeper) -> None:
        self.books = books
        self._readings: dict[int, tuple[VenueOrder, ...]] = {}

    def give(self, kind: str, values: Sequence[Any], inbox: Inbox) -> None:
        """Call the method that *kind* names with what *values* stand for.

        Raises:
            LookupError: There is no such method, or no such order or user.
            msgspec.ValidationError: A value is none of what the method takes.
        """
        if kind == "take":
            self.books.take(str(values[0]), [_item(item, inbox) for item in values[1]])
        elif kind == "direct_at":
            user_no, client_order_id, payload, run, quote, at_us = values
            request = _request(self.books.desk.users[user_no], client_order_id, payload)
            self.books.direct_at(
                request, run, None if quote is None else msgspec.convert(quote, Quote), at_us
            )
        elif kind == "report":
            user_no, told, held = values
            nets = None if held is None else [VenuePosition(s, Product(p), count) for s, p, count in held]
            self.books.report(user_no, self._reading(user_no, told), nets)
        else:
            method, hints = _method(kind)
            given = {
                name: self._value(value, hint)
                for (name, hint), value in zip(hints.items(), values, strict=False)
            }
            method(self.books, **given)

    # -- inside ----------------------------------------------------------------------------------

    def _value(self, value: Any, hint: Any) -> Any:
        if hint is Order:
            return self._order(tuple(value))
        if hint == list[Order]:
            return [self._order(tuple(key)) for key in value]
        if hint == list[tuple[Order, PlaceOutcome]]:
            return [(self._order(tuple(key)), self._value(said, PlaceOutcome)) for key, said in value]
        if hint == PlaceOutcome:
            return msgspec.convert(value[1], OUTCOMES[value[0]])
        return msgspec.convert(value, hint)

    def _order(self, key: tuple[int, ...]) -> Order:
        desk = self.books.desk
        for orders in desk.at_work.values():
            for order in orders.values():
                if order.key() == key:
                    return order
        for order in desk.line(key[1]).orders.values():
            if order.key() == key:
                return order
        raise LookupError(f"order {key} is not at work")

    def _reading(self, user_no: int, told: Sequence[Any]) -> VenueBook:
        asked_us, unread, count, fresh = told
        rows: list[Any] = list(self._readings.get(user_no, ()))[:count]
        rows += [None] * (count - len(rows))
        for place, row in fresh:
            rows[place] = msgspec.convert(row, VenueOrder)
        self._readings[user_no] = tuple(rows)
        return VenueBook(asked_us, tuple(rows), tuple(unread))


@cache
def _method(kind: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    method = getattr(Bookkeeper, kind, None)
    if kind.startswith("_") or method is None:
        raise LookupError(f"nothing takes the input {kind!r}")
    hints = get_type_hints(method)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    return method, {name: hints[name] for name in names}


def _item(item: Sequence[Any], inbox: Inbox) -> Received | Unreadable:
    engine, epoch, seq, *rest = item
    if len(item) > ITEM:
        reason, raw = rest
        return Unreadable(engine, epoch, seq, Poison(reason, raw))
    payload = rest[0] if rest[0] is not None else inbox[engine, epoch, seq]
    signal = decode(payload)
    if isinstance(signal, Poison):
        raise LookupError(f"signal {seq} cannot be read: {signal.reason}")
    return Received(engine, epoch, seq, signal, payload)


def _request(user: User, client_order_id: str, payload: bytes) -> DirectRequest:
    plain = msgspec.json.decode(payload)
    return DirectRequest(
        client_order_id,
        direct_id(user.user_id, client_order_id),
        user,
        plain["symbol"],
        Side(plain["side"]),
        OrderType(plain["order_type"]),
        Product(plain["product"]),
        plain["quantity"],
        plain["price_paise"],
        payload,
        plain.get("trigger_paise", 0),
    )
