"""Positions and profit, folded from fills in whole paise.

A book is what one user holds for one strategy in one instrument and product, in one market (live,
simulated, or one replay): worlds with other prices never share a book.
"""

from __future__ import annotations

from shared.models import Side, Target

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_BUY, _FLAT = Side.BUY, Target.FLAT


class Book:
    """One user's position for one strategy, with its profit so far.

    Attributes:
        target: What the strategy wants; FLAT latches an exit until the book is flat.
        quantity: Net shares, negative when short.
        cost_paise: Paid for what is still open (received, negative, when short).
        realised_paise: Profit of what is closed, before charges.
        charges_paise: Charges of all fills.
        day: Trading day (IST, days since the epoch) of the next two.
        day_entries: Entry orders sent that day.
        day_net_paise: Realised minus charges of that day.
        entering, exiting, stopping: Shares of entries, exits and stops at work, ≥ 0; not stored, they follow
            from the orders.
        entering_paise: What the entries at work will cost at their reference price.
        noted_paise: Its part of the account's gross exposure as it was noted last.
    """

    __slots__ = (
        "charges_paise",
        "cost_paise",
        "day",
        "day_entries",
        "day_net_paise",
        "entering",
        "entering_paise",
        "exiting",
        "key",
        "noted_paise",
        "quantity",
        "realised_paise",
        "stopping",
        "target",
    )

    def __init__(self, key: BookKey) -> None:
        self.key = key
        self.target = _FLAT
        self.quantity = 0
        self.cost_paise = 0
        self.realised_paise = 0
        self.charges_paise = 0
        self.day = 0
        self.day_entries = 0
        self.day_net_paise = 0
        self.entering = 0
        self.entering_paise = 0
        self.exiting = 0
        self.stopping = 0
        self.noted_paise = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is held and nothing at work."""
        return not (self.quantity or self.entering or self.exiting or self.stopping)

    @property
    def average_paise(self) -> int:
        """What a share that is open cost, rounded down; 0 where none is."""
        return self.cost_paise // self.quantity if self.quantity else 0

    def open_day(self, day: int) -> None:
        """Start the day's figures anew when *day* is later than theirs."""
        if day > self.day:
            self.day = day
            self.day_entries = 0
            self.day_net_paise = 0

    def fill(self, side: Side, quantity: int, price_paise: int, charges_paise: int) -> int:
        """Book a fill and return what it realised, paise before charges.

        What closes takes its share of the cost, rounded toward zero; the rest stays with what is
        open, so that the sum over a round trip is exact to the paisa.

        Args:
            side: BUY or SELL.
            quantity: Shares, > 0.
            price_paise: Per share.
            charges_paise: Of this fill.
        """
        signed = quantity if side is _BUY else -quantity
        realised = 0
        if self.quantity * signed < 0:
            closing = min(quantity, abs(self.quantity))
            cost = _share(self.cost_paise, closing, abs(self.quantity))
            proceeds = closing * price_paise
            realised = proceeds - cost if self.quantity > 0 else -cost - proceeds
            self.cost_paise -= cost
            opening = quantity - closing
        else:
            opening = quantity
        self.cost_paise += opening * price_paise * (1 if side is _BUY else -1)
        self.quantity += signed
        self.realised_paise += realised
        self.charges_paise += charges_paise
        self.day_net_paise += realised - charges_paise
        return realised

    def unrealised(self, price_paise: int) -> int:
        """Return the open profit at *price_paise*, paise before charges."""
        return self.quantity * price_paise - self.cost_paise

    def row(self) -> tuple[int | str, ...]:
        """Return the stored columns, key first."""
        return (
            *self.key,
            self.target,
            self.quantity,
            self.cost_paise,
            self.realised_paise,
            self.charges_paise,
            self.day,
            self.day_entries,
            self.day_net_paise,
        )

    @classmethod
    def from_row(cls, row: tuple[int | str, ...]) -> Book:
        """Return the book that `row` wrote."""
        market, strategy, symbol, product, user = row[:5]
        book = cls((int(market), int(strategy), int(symbol), str(product), int(user)))
        book.target = Target(str(row[5]))
        book.quantity, book.cost_paise, book.realised_paise, book.charges_paise = map(int, row[6:10])
        book.day, book.day_entries, book.day_net_paise = map(int, row[10:13])
        return book


BookKey = tuple[int, int, int, str, int]
"""market_no, strategy_no, symbol_no, product, user_no."""


def _share(cost_paise: int, part: int, whole: int) -> int:
    share = abs(cost_paise) * part // whole
    return share if cost_paise >= 0 else -share
