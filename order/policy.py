"""What an operator may choose about how orders are handled; recorded with each start."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from order.house import HOUSE_GROSS, HOUSE_LOSS_PERCENT
from shared.settings import Settings


class Policy(msgspec.Struct, frozen=True):
    """Choices for all accounts of one process.

    Attributes:
        stop_becomes_exit: An exit modifies a resting stop into itself; else it cancels it first.
        square_off: IST `HH:MM` at which INTRADAY positions are closed, in place of the table's time, and in
            rehearsals, too; empty: the table's, and none in rehearsals.
        modify_is_total: The quantity of a modify is the order's total at the broker. Where it is what
            remains, an order that may fill meanwhile is cancelled and sent anew: what fills on the way of a
            modify would come on top.
        house_gross: Gross exposure of all users together, as a multiple of their capital.
        house_loss_percent: Day's loss of all users together that closes everything, percent of their capital.
        live: The books are live: accounts at a broker follow the live market alone.
    """

    stop_becomes_exit: bool = True
    square_off: str = ""
    modify_is_total: bool = True
    house_gross: Decimal = HOUSE_GROSS
    house_loss_percent: Decimal = HOUSE_LOSS_PERCENT
    live: bool = False


def policy_of(settings: Settings, environment: str) -> Policy:
    """Return what *settings* choose for books that are marked with *environment*."""
    return Policy(
        settings.angel_one_stop_exit == "modify",
        settings.square_off,
        settings.angel_one_modify_quantity == "total",
        settings.house_max_gross,
        settings.house_day_loss_percent,
        environment == "live",
    )
