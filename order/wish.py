"""A signal read against what one user holds, in the words of the trading semantics."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from order.books import Book
from order.users import Terms
from shared.models import Product, Side, Signal, SignalType, Target


@dataclass(frozen=True, slots=True)
class Wish:
    """Exit, enter, both in that order, or the rule that says there is nothing to do."""

    nothing: str = ""
    exit: bool = False
    enter: Side | None = None


_ALREADY = Wish(nothing="already_there")
_NOTHING = Wish(nothing="nothing_to_exit")
_EXIT = Wish(exit=True)
_BUY = Wish(enter=Side.BUY)
_SELL = Wish(enter=Side.SELL)


# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_LONG, _SHORT = Target.LONG, Target.SHORT
_ON_BUY, _ON_SELL = SignalType.BUY, SignalType.SELL
_ENTER_LONG, _ENTER_SHORT = SignalType.ENTER_LONG, SignalType.ENTER_SHORT
_EXIT_LONG, _EXIT_SHORT = SignalType.EXIT_LONG, SignalType.EXIT_SHORT


def is_long(book: Book) -> bool:
    """Return whether *book* is long, or about to be by an entry at work."""
    return book.quantity > 0 or (book.entering > 0 and book.target is _LONG)


def is_short(book: Book) -> bool:
    """Return whether *book* is short, or about to be by an entry at work."""
    return book.quantity < 0 or (book.entering > 0 and book.target is _SHORT)


def read(signal: Signal, book: Book, terms: Terms) -> Wish:
    """Return what *signal* asks of *book*.

    BUY enters long, or exits a short; SELL exits a long, else enters short where the terms allow it;
    REVERSE of nothing has no direction and is nothing.
    """
    long, short = is_long(book), is_short(book)
    kind = signal.signal_type
    if kind is _ON_BUY:
        kind = _EXIT_SHORT if short else _ENTER_LONG
    elif kind is _ON_SELL:
        may_short = terms.allow_short and terms.product is Product.INTRADAY
        kind = _EXIT_LONG if long or not may_short else _ENTER_SHORT
    if kind is _ENTER_LONG:
        return _ALREADY if long and not signal.add else _BUY
    if kind is _ENTER_SHORT:
        return _ALREADY if short and not signal.add else _SELL
    if kind is _EXIT_LONG:
        return _EXIT if long else _NOTHING
    if kind is _EXIT_SHORT:
        return _EXIT if short else _NOTHING
    if kind is SignalType.REVERSE and (long or short):
        return Wish(exit=True, enter=Side.SELL if long else Side.BUY)
    return _NOTHING


def same_wish(payload: bytes, signal: Signal) -> bool:
    """Return whether *payload* is *signal*, but for when the engine accepted it."""
    before = msgspec.json.decode(payload, type=Signal)
    return (
        msgspec.structs.replace(before, accepted_at=signal.accepted_at, valid_until=signal.valid_until)
        == signal
    )
