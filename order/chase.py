"""At which price a MARKET order rests at the exchange, as a function of time: a LIMIT that follows.

An entry gives up after ten seconds and fifty basis points from where the price stood when it was sent; an
exit goes on, further and anew from the touch, up to three percent or the circuit. Pure; times in seconds
since the send.
"""

from __future__ import annotations

from shared.models import Quote, Side

ENTRY_BPS = ((0.0, 5), (2.0, 15), (4.0, 30), (6.0, 50))
ENTRY_ENDS_S = 10.0
EXIT_BPS = ((0.0, 10), (2.0, 30), (4.0, 50))
EXIT_ANCHOR_S = 3.0
EXIT_MOST_BPS = 300
FRESH_S = 4.0
"""An exit follows no price that is older: the chase of a dead one ends nowhere."""

STUCK_S, STUCK_AGAIN_S = 30.0, 10.0
_WHOLE = 10_000


def touch(side: Side, quote: Quote) -> int:
    """Return the price at which *side* would trade now, paise; the last one where the book is not known."""
    return (quote.ask_paise if side is Side.BUY else quote.bid_paise) or quote.price_paise


def entry_price(side: Side, arrival_paise: int, tick_paise: int, elapsed_s: float) -> int | None:
    """Return an entry's limit, or None when its time is over.

    Args:
        side: Of the order.
        arrival_paise: The touch when it was sent; the price never leaves it by more than the last step.
        tick_paise: Price grid.
        elapsed_s: Since the send.
    """
    if elapsed_s >= ENTRY_ENDS_S:
        return None
    return _away(side, arrival_paise, _step(ENTRY_BPS, elapsed_s), tick_paise)


def exit_price(
    side: Side, arrival_paise: int, touch_paise: int, tick_paise: int, elapsed_s: float, quote: Quote | None
) -> int:
    """Return an exit's limit.

    Args:
        side: Of the order: SELL closes a long position.
        arrival_paise: The touch when it was sent.
        touch_paise: The touch at the last anchor: after the third step every `EXIT_ANCHOR_S`.
        tick_paise: Price grid.
        elapsed_s: Since the send.
        quote: Its circuit limits bound the price; None where there is no price.
    """
    from_paise = touch_paise if elapsed_s >= EXIT_BPS[-1][0] + EXIT_ANCHOR_S else arrival_paise
    price = _away(side, from_paise, _step(EXIT_BPS, elapsed_s), tick_paise)
    most = _away(side, arrival_paise, EXIT_MOST_BPS, tick_paise)
    lower = max(quote.lower_paise if quote else 0, tick_paise)
    upper = quote.upper_paise if quote else 0
    if side is Side.SELL:
        return max(price, most, lower)
    return min(price, most, upper) if upper else min(price, most)


def onward(side: Side, anchor_paise: int, tick_paise: int) -> int:
    """Return the anchor after one that no fresh price has come for: an exit goes on in the dark, too."""
    return _away(side, anchor_paise, EXIT_BPS[-1][1], tick_paise)


def _step(steps: tuple[tuple[float, int], ...], elapsed_s: float) -> int:
    return [bps for since_s, bps in steps if elapsed_s >= since_s][-1]


def _away(side: Side, price_paise: int, bps: int, tick_paise: int) -> int:
    """Return *price_paise* moved against the order's owner; BUY rounds down, SELL up."""
    if side is Side.BUY:
        return price_paise * (_WHOLE + bps) // (_WHOLE * tick_paise) * tick_paise
    return max(-(-price_paise * (_WHOLE - bps) // (_WHOLE * tick_paise)) * tick_paise, tick_paise)
