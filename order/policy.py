"""What an operator may choose about how orders are handled; recorded with each start."""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """Choices for all accounts of one process.

    Attributes:
        stop_becomes_exit: An exit modifies a resting stop into itself; else it cancels it first.
        square_off: IST `HH:MM` at which INTRADAY positions are closed, in place of the table's time, and in
            rehearsals, too; empty: the table's, and none in rehearsals.
    """

    stop_becomes_exit: bool = True
    square_off: str = ""
