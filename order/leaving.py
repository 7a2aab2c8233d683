"""Exits that we decide by ourselves: a level that was passed, a stop that is missing, the clock."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from order.books import Book
from order.orders import OWN_ENGINE, Order, Purpose
from order.waiting import Waiting
from shared.ids import direct_id
from shared.models import OrderType, Product, Quote, Side, Target


class Leaving(Waiting):
    """Makes such exits, each with a row in the inbox that says why."""

    def leave(self, book: Book, why: str, quote: Quote | None, now_us: int) -> None:
        """Get out of *book*, and take its entries off; nothing where an exit is under way already.

        Args:
            book: What to close.
            why: In words; the order's rule.
            quote: The price that led to it; None: the latest.
            now_us: Wall time.
        """
        guard = self.guards.get(book.key)
        if guard is not None and guard.exit is not None:
            return
        self.withdraw_entries(book, now_us)
        shares = abs(book.quantity) - book.exiting
        if not book.entering and shares <= 0:
            return
        order = self._own_exit(book, why, quote, now_us)
        book.target = Target.FLAT
        self.changes.books[book.key] = book
        if book.entering or guard is not None:
            self.wait_for_stop(order)
            return
        order.quantity = shares
        run, symbol = order.run, order.instrument.symbol
        price = self._own_quote(order, quote or self.latest(run, symbol))
        at_us = now_us if run == "live" else price.at_us
        if run.startswith("replay") or self.sends_open(run, at_us, order.instrument, order.product):
            self.send_exit(order, price, now_us)
        else:
            self._latch(order)

    def wait_for_stop(self, order: Order) -> None:
        """Let an exit wait, without a quantity, until what may still fill before it is done."""
        self.wait(order)
        guard = self.guards.get(order.book.key)
        if guard is not None:
            guard.exit = order
            self.touched[order.book.key] = guard

    def open_in(self, user_no: int) -> dict[str, str]:
        """Return the products in which strategies hold something for a user, or have an order at work."""
        return {
            self._names[key[1]]: key[3]
            for key, book in self._books.items()
            if key[4] == user_no and not book.idle
        }

    def leave_all(self, user_no: int, strategies: Collection[str], now_us: int) -> None:
        """Get out of whatever *strategies* hold for a user."""
        for key, book in list(self._books.items()):
            if key[4] == user_no and self._names[key[1]] in strategies and not book.idle:
                self.leave(book, "the user leaves the strategy", None, now_us)
        self.journal_moves("leave", now_us, [user_no, *strategies])

    # -- inside ----------------------------------------------------------------------------------

    def _own_exit(self, book: Book, why: str, quote: Quote | None, now_us: int) -> Order:
        market_no, strategy_no, symbol_no, product, user_no = book.key
        signal_no, user = self.next_signal(), self.users[user_no]
        symbol, run = self._names[symbol_no], self._names[market_no]
        signal_id = direct_id(user.user_id, f"own {signal_no}")
        payload = msgspec.json.encode({"user_id": user.user_id, "symbol": symbol, "exit": why})
        self.changes.inbox.append(
            (
                signal_no, user.group, OWN_ENGINE, "", signal_no, signal_id, market_no, strategy_no,
                symbol_no, 1, payload, now_us,
            )
        )  # fmt: skip
        at = quote or self.latest(run, symbol)
        order = Order(
            signal_no, signal_id, self.account(user, market_no), 0, book, self.instruments.get(symbol), run,
            Purpose.EXIT, Side.SELL if book.quantity > 0 else Side.BUY, Product(product), OrderType.MARKET, 0,
            at.price_paise if at is not None else book.average_paise, at.at_us if at is not None else now_us,
        )  # fmt: skip
        order.rule = why
        return order

    @staticmethod
    def _own_quote(order: Order, quote: Quote | None) -> Quote:
        """Return *quote*, or where there is none the order's own price."""
        return quote or Quote(order.instrument.symbol, order.price_paise, order.placed_us)
