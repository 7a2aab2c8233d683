"""What protects a position: its stop, its target, its trailing distance, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from order.books import Book, BookKey
from shared.models import Side, Signal, paise, rupees

if TYPE_CHECKING:
    from order.accounts import Account
    from order.orders import Order
    from order.users import Terms
    from shared.instruments import Instrument

STOP_LEG = 2
"""Leg of a stop among the orders of its entry's signal; 0 and 1 are the signal's own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Protection that an entry asks for; 0 where it does not.

    Attributes:
        stop_paise, target_paise: Levels.
        trail_bps: Distance of a trailing stop from the best price, 1/100 of a percent.
    """

    stop_paise: int = 0
    target_paise: int = 0
    trail_bps: int = 0


@dataclass(slots=True)
class Guard:
    """Protection of one book.

    Attributes:
        side: Of the stop: SELL for a long position.
        signal_no, signal_id: The entry that it belongs to; its stop orders carry them.
        stop_paise: Where the stop stands now; 0: none. Follows the best price where it trails.
        best_paise: Best price since the entry.
        stops: Stop orders made for this entry so far.
        stopped_us: Market time of the last stop-out; 0: none.
        orders: The stop orders that are not done; more than one where the freeze quantity wants it.
        exit: An exit that waits for those orders, which are to become it.
        bare_us: Wall time since which shares have no accepted stop; 0 while they have one.
        not_before_us: Wall time before which a stop that was refused is not sent anew.
        on_the_way: Its shares have not arrived, so that no stop may sell them.
    """

    book: Book
    account: Account
    instrument: Instrument
    run: str
    side: Side
    signal_no: int
    signal_id: str
    stop_paise: int
    target_paise: int
    trail_bps: int
    best_paise: int = 0
    stops: int = 0
    stopped_us: int = 0
    orders: list[Order] = field(default_factory=list)
    exit: Order | None = None
    bare_us: int = 0
    not_before_us: int = 0
    on_the_way: bool = False

    @property
    def on(self) -> bool:
        """Whether it protects anything."""
        return bool(self.stop_paise or self.target_paise)

    @property
    def told(self) -> str:
        """Its levels in words."""
        levels = (("stop", self.stop_paise), ("target", self.target_paise))
        said = [f"{name} {rupees(level)}" for name, level in levels if level]
        said += [f"trailing {self.trail_bps / 100:g} %"] if self.trail_bps else []
        return ", ".join(said) or "no protection"

    def row(self) -> tuple[object, ...]:
        """Return the stored columns, key first."""
        return (
            *self.book.key, self.side, self.signal_no, self.signal_id, self.stop_paise, self.target_paise,
            self.trail_bps, self.best_paise, self.stops, self.stopped_us,
        )  # fmt: skip


def book_key(row: tuple[int | str | None, ...]) -> BookKey:
    """Return the book whose guard `Guard.row` wrote."""
    market, strategy, symbol, product, user = row[:5]
    return int(market or 0), int(strategy or 0), int(symbol or 0), str(product), int(user or 0)


def plan_of(signal: Signal, terms: Terms) -> Plan | None:
    """Return the protection that *signal* carries and *terms* add, or None where there is none."""
    if signal.stop is None and signal.target is None and not terms.trail_percent:
        return None
    return Plan(
        0 if signal.stop is None else paise(signal.stop),
        0 if signal.target is None else paise(signal.target),
        int(terms.trail_percent * 100),
    )


def bar_start_us(timeframe: str, close_us: int) -> int:
    """Return when the bar began that closed at *close_us*."""
    unit_s = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[timeframe[-1]]
    return close_us - int(timeframe[:-1]) * unit_s * 1_000_000
