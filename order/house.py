"""All accounts of one order side in one market, added up: what they hold and what the day has brought."""

from __future__ import annotations

from decimal import Decimal

HOUSE_GROSS, HOUSE_LOSS_PERCENT = Decimal(1), Decimal(4)
"""Default bounds: gross exposure as a multiple of all capital, day's loss in percent of it.

Twice the loss at which a user is stopped: it is for what that did not stop.
"""


class House:
    """Sums that accounts keep up to date as they change, and their bounds, paise.

    Attributes:
        gross_paise: Open positions and entries at work, at cost.
        day, day_net_paise: Realised profit after charges of that trading day.
        unrealised_paise: Of all that is open, at the prices of the latest look; see `order.losses`.
        max_gross_paise, day_loss_paise: Bounds; they follow the capital of all users that are enabled.
    """

    __slots__ = (
        "day", "day_loss_paise", "day_net_paise", "gross_paise", "max_gross_paise", "unrealised_paise",
    )  # fmt: skip

    def __init__(self) -> None:
        self.gross_paise = self.day = self.day_net_paise = self.unrealised_paise = 0
        self.max_gross_paise = self.day_loss_paise = 0

    def size(self, capital_paise: int, max_gross: Decimal, loss_percent: Decimal) -> None:
        """Take the bounds.

        Args:
            capital_paise: Of all users.
            max_gross: Gross exposure as a multiple of it.
            loss_percent: Day's loss in percent of it.
        """
        self.max_gross_paise = int(capital_paise * max_gross)
        self.day_loss_paise = int(capital_paise * loss_percent / 100)

    def add_profit(self, day: int, net_paise: int) -> None:
        """Add what a fill of *day* realised, after charges."""
        if day > self.day:
            self.day, self.day_net_paise = day, 0
        if day == self.day:
            self.day_net_paise += net_paise

    def loss_paise(self, day: int) -> int:
        """Return what *day* has cost so far, with what is open; negative is profit."""
        return -(self.unrealised_paise + (self.day_net_paise if day == self.day else 0))
