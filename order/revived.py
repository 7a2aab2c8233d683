"""Stored orders that are not done, brought back to life at start."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from order.execution import Execution
from order.guards import plan_of
from order.orders import Order, Purpose
from order.protection import Protection
from order.store import Loaded, StoredOrder
from order.wire import Wire
from shared.models import OrderState, OrderType, Product, Side, Signal, microseconds

_PURPOSES = {each.value: each for each in Purpose}
_SIDES = {each.value: each for each in Side}
_PRODUCTS = {each.value: each for each in Product}
_TYPES = {each.value: each for each in OrderType}
_STATES = {each.value: each for each in OrderState}
# A hundred thousand orders at a start: looking a member up costs a tenth of asking its class.


@lru_cache(maxsize=256)
def _signal(payload: bytes) -> Signal:
    """Return the signal that an order came of; many orders come of one."""
    return msgspec.json.decode(payload, type=Signal)


def revive(desk: Protection, loaded: Loaded, now_us: int) -> None:
    """Give *desk* the orders that are not done, with their requests and what protects their books."""
    for row in loaded.guards:
        desk.know_guard(row)
    for stored in loaded.at_work:
        desk.know_order(revived(desk, stored))
    desk.amend_no = loaded.amend_no
    for row in loaded.amendments:
        desk.know_amendment(row, now_us)
    for stored in loaded.late:
        desk.know_late(revived(desk, stored))
    desk.remember(loaded)


def revived(desk: Execution, stored: StoredOrder) -> Order:
    """Return *stored* as an order of *desk*, which knows its user and its book."""
    (
        signal_no, user_no, leg, slice_no, attempt, purpose, side, product, order_type, quantity, price_paise,
        state, rule, filled, value_paise, charges_paise, venue_no, placed_us, updated_us,
    ) = stored.row  # fmt: skip
    user = desk.users[user_no]
    order = Order(
        signal_no,
        stored.signal_id,
        desk.account(user, stored.market_no),
        leg,
        desk.book((stored.market_no, stored.strategy_no, stored.symbol_no, product, user_no)),
        desk.instruments.get(desk.name_of(stored.symbol_no)),
        desk.name_of(stored.market_no),
        _PURPOSES[purpose],
        _SIDES[side],
        _PRODUCTS[product],
        _TYPES[order_type],
        quantity,
        price_paise,
        placed_us,
    )
    order.slice_no, order.attempt = slice_no, attempt
    order.state, order.rule = _STATES[state], rule
    order.filled, order.value_paise, order.charges_paise = filled, value_paise, charges_paise
    order.venue_no, order.updated_us = venue_no, updated_us
    order.trigger_paise = stored.trigger_paise
    if stored.sent_us or (order.attempt and order.purpose is not Purpose.STOP):
        order.wire = Wire(
            venue_order_id=stored.venue_order_id,
            sent_us=stored.sent_us,
            lost_us=stored.lost_us,
            settled_us=stored.settled_us,
            fills=stored.fills,
        )
    if stored.payload.startswith(b'{"schema"'):
        signal = _signal(stored.payload)
        order.valid_until_us = microseconds(signal.valid_until)
        terms = user.subscriptions.get(signal.strategy_id)
        order.plan = None if terms is None else plan_of(signal, terms)
    return order
