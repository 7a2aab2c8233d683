"""The front door for direct orders: give one, change it, take it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from order.bookkeeper import Bookkeeper, Direct
from order.by_hand import Change, parse_change
from order.control import ControlClient
from order.levels import parse_levels
from order.orders import Order
from order.requests import parse_direct
from shared.clock import Clock
from shared.instruments import Instruments
from shared.models import DONE_STATES, OrderResult, OrderState, rupees
from shared.store.thread import OwnedThread

PATIENCE_S = 5.0
"""How long a caller waits for the broker's answer; then it is told how the order stands."""

POLL_S = 0.02


class Opened(Protocol):
    """What exists where the books are kept."""

    thread: OwnedThread
    books: Bookkeeper


class DirectOrders:
    """The part of the order manager that takes them."""

    _remote: ControlClient | None
    _clock: Clock
    _instruments: Instruments

    async def execute_order(self, order: Mapping[str, object]) -> OrderResult:
        """Execute one order literally and return what became of it.

        Args:
            order: `user_id, symbol, side, order_type, quantity`; optional `price` (rupees: the limit of
                a LIMIT or SL_LIMIT order, the reference of a MARKET order), `trigger_price` (of an SL_LIMIT
                order), `product`, `client_order_id`.

        Raises:
            ConfigurationError: The order is malformed; every finding is in the message.
        """
        if self._remote is not None:
            return _result(await self._remote.ask("execute_order", dict(order)))
        books = self._here().books
        request = parse_direct(order, books.users, self._instruments)
        direct, sends = await self._here().thread.run(books.direct, request)
        self._dispatch(sends)
        waiting = (OrderState.NEW, OrderState.SENDING)
        for sent in sends:
            await self._until(lambda sent=sent: sent.state not in waiting)  # type: ignore[misc]
            direct = _now(sent, direct)
        return direct.result()

    async def cancel_order(self, order_id: str) -> OrderResult:
        """Cancel a direct order and return how it stands; at a broker its books say when it is cancelled.

        Raises:
            ConfigurationError: There is no such open order, or its fate is not known.
        """
        if self._remote is not None:
            return _result(await self._remote.ask("cancel_order", {"order_id": order_id}))
        return await self._change(Change(order_id, True))

    async def modify_order(self, order_id: str, **changes: object) -> OrderResult:
        """Change a direct LIMIT or SL_LIMIT order that rests and return how it stands.

        Args:
            order_id: Its public id.
            changes: `price`, `trigger_price` (rupees) and `quantity` (total shares; smaller, not larger).

        Raises:
            ConfigurationError: There is no such open order, or it cannot be changed like that.
            RefusedBySafety: A rule forbids what it would become.
        """
        if self._remote is not None:
            return _result(await self._remote.ask("modify_order", {**changes, "order_id": order_id}))
        return await self._change(parse_change(order_id, changes))

    async def protect(self, user_id: str, symbol: str, **levels: object) -> str:
        """Protect an open position anew, in place of whatever protects it, and return how, in words.

        Args:
            user_id, symbol: Whose position.
            levels: `stop`, `target` (rupees), `trail_percent`, and `strategy_id` where several hold the
                symbol; none of the levels: nothing protects it.

        Raises:
            ConfigurationError: There is no such position, or a level makes no sense for it.
        """
        given = {"user_id": user_id, "symbol": symbol, **levels}
        if self._remote is not None:
            return str(await self._remote.ask("protect", given))
        opened = self._here()
        told, sends = await opened.thread.run(opened.books.protect, parse_levels(given))
        self._dispatch(sends)
        return told

    # -- inside ----------------------------------------------------------------------------------

    async def _change(self, change: Change) -> OrderResult:
        opened = self._here()
        order = await opened.thread.run(opened.books.change, change)
        await self._until(lambda: order.state in DONE_STATES or not _open(order))
        result = _now(order, Direct(order.tag, order.state, 0, 0, "", False)).result()
        return msgspec.structs.replace(result, message=_said(order, change))

    async def _until(self, true: Callable[[], bool]) -> None:
        give_up_s = self._clock.boot_s() + PATIENCE_S
        while not true() and self._clock.boot_s() < give_up_s:  # noqa: ASYNC110
            # The order moves on the thread of the books, which knows no event of this loop.
            await asyncio.sleep(POLL_S)

    def _here(self) -> Opened:
        raise NotImplementedError

    def _dispatch(self, sends: Sequence[Order]) -> None:
        raise NotImplementedError


def _result(answer: Any) -> OrderResult:
    return msgspec.convert(answer, OrderResult, strict=False)


def _now(order: Order, direct: Direct) -> Direct:
    return replace(
        direct, state=order.state, filled=order.filled, value_paise=order.value_paise, rule=order.rule
    )


def _open(order: Order) -> bool:
    """Whether the books have not shown yet what was asked of an order at a broker."""
    return order.wire is not None and (order.wire.cancel or order.wire.wish is not None)


def _said(order: Order, change: Change) -> str:
    if order.state in DONE_STATES:
        return f"it is {order.state.lower()}"
    if _open(order):
        return "asked for; the broker's books do not show it yet, `trading orders` will"
    if order.wire is not None and order.wire.refusal:
        return f"the broker refused the change: {order.wire.refusal}"
    kind = f", trigger {rupees(order.trigger_paise)}" if change.trigger_paise else ""
    return f"changed: {order.quantity} shares at {rupees(order.price_paise)}{kind}"
