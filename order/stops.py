"""Where stops stand and when they are due: pure arithmetic in paise on the tick grid."""

from __future__ import annotations

from shared.models import Side

STOP_LIMIT_BPS = 50
"""How far beyond its trigger a stop's limit is, 1/100 of a percent: room to fill, and a bound."""

_WHOLE = 10_000


def stop_limit(side: Side, trigger_paise: int, tick_paise: int) -> int:
    """Return the limit of a stop: SELL below its trigger and rounded up, BUY above it and rounded down.

    Args:
        side: Of the stop order: SELL protects a long position.
        trigger_paise: On the grid.
        tick_paise: Price grid.
    """
    if side is Side.BUY:
        return trigger_paise * (_WHOLE + STOP_LIMIT_BPS) // (_WHOLE * tick_paise) * tick_paise
    limit = -(-trigger_paise * (_WHOLE - STOP_LIMIT_BPS) // (_WHOLE * tick_paise)) * tick_paise
    return max(limit, tick_paise)


def passed(side: Side, price_paise: int, level_paise: int) -> bool:
    """Return whether *price_paise* has reached a level at which *side* leaves with a loss: a stop's."""
    return price_paise >= level_paise if side is Side.BUY else price_paise <= level_paise


def gained(side: Side, price_paise: int, level_paise: int) -> bool:
    """Return whether *price_paise* has reached a level at which *side* leaves with a gain: a target."""
    return price_paise <= level_paise if side is Side.BUY else price_paise >= level_paise


def trailed(side: Side, best_paise: int, distance_bps: int, tick_paise: int) -> int:
    """Return where a trailing stop stands below (SELL) or above (BUY) the best price seen.

    Args:
        side: Of the stop order.
        best_paise: Highest price since the entry for SELL, lowest for BUY.
        distance_bps: 1/100 of a percent of the best price, > 0.
        tick_paise: Price grid; the stop is never nearer than the distance.
    """
    if side is Side.BUY:
        return -(-best_paise * (_WHOLE + distance_bps) // (_WHOLE * tick_paise)) * tick_paise
    return max(best_paise * (_WHOLE - distance_bps) // (_WHOLE * tick_paise) * tick_paise, tick_paise)


def nearer(side: Side, one_paise: int, other_paise: int) -> int:
    """Return the stop of two that is hit first."""
    return min(one_paise, other_paise) if side is Side.BUY else max(one_paise, other_paise)
