"""Charges of an executed order, dated, exact to the paisa.

Per order STT and stamp duty are estimates: the exchange nets them per client, scrip and day; see
`order.day_charges`. Rates: `data/charges.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.models import Product, Side

DATA = Path(__file__).parent.parent / "data" / "charges.json"

UNIT = 100_000_000
"""Rates are whole 1e-8, so that all sums are integers: amounts in between are whole 1e-8 paise."""

SHARES = "EQ"
_KINDS = (SHARES, "ETF", "ETF_OTHER")
_REMEMBERED = 4096
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Rates:
    """What holds for one kind of instrument, product and side; fractions of the value in 1e-8."""

    brokerage: int
    brokerage_max_paise: int
    brokerage_min_paise: int
    stt: int
    stamp: int
    exchange: int
    ipft: int
    sebi: int
    gst_percent: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The charges of one executed order by name, each in 1e-8 paise."""

    brokerage: int = 0
    exchange: int = 0
    ipft: int = 0
    sebi: int = 0
    gst: int = 0
    stt: int = 0
    stamp: int = 0

    @property
    def levies(self) -> int:
        """What is charged per order for good: all but STT and stamp duty."""
        return self.brokerage + self.exchange + self.ipft + self.sebi + self.gst

    @property
    def total(self) -> int:
        """All of it."""
        return self.levies + self.stt + self.stamp


@dataclass(frozen=True, slots=True)
class _Row:
    rates: dict[tuple[str, Product, Side], Rates]
    dp: int


class Charges:
    """The rate table.

    Attributes:
        first_day: Trades before this day (days since the epoch) are charged at its rates.
        known_in: The year in which the rates were gathered.
    """

    def __init__(self, path: Path = DATA) -> None:
        table = json.loads(path.read_text(encoding="utf-8"))
        self._rows = sorted(((_day(row["from"]), _row(row)) for row in table["rows"]), key=lambda row: row[0])
        self.first_day = self._rows[0][0]
        self.known_in = int(table["known_in"])
        self._known: dict[tuple[Side, Product, int, int, str], int] = {}

    def order_paise(
        self, side: Side, product: Product, value_paise: int, day: int, kind: str = SHARES
    ) -> int:
        """Return the charges of one executed order, whole paise, half a paisa rounded up.

        Args:
            side: BUY or SELL.
            product: INTRADAY or DELIVERY.
            value_paise: Filled quantity times price; 0 costs nothing.
            day: Trade date, days since the epoch in IST.
            kind: Of the instrument: `EQ`, `ETF` or `ETF_OTHER`.
        """
        # Users of one signal mostly share all five.
        key = (side, product, value_paise, day, kind)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = to_paise(self.parts(*key).total)
        return known

    def parts(self, side: Side, product: Product, value_paise: int, day: int, kind: str = SHARES) -> Parts:
        """Return the same by name and unrounded; arguments as `order_paise`."""
        if value_paise <= 0:
            return Parts()
        r = self.rates(side, product, day, kind)
        most, least = r.brokerage_max_paise * UNIT, r.brokerage_min_paise * UNIT
        brokerage = max(least, min(most, value_paise * r.brokerage))
        exchange, ipft, sebi = value_paise * r.exchange, value_paise * r.ipft, value_paise * r.sebi
        gst = (brokerage + exchange + ipft + sebi) * r.gst_percent // 100
        return Parts(brokerage, exchange, ipft, sebi, gst, value_paise * r.stt, value_paise * r.stamp)

    def rates(self, side: Side, product: Product, day: int, kind: str = SHARES) -> Rates:
        """Return the rates in force on *day*; the oldest known ones for what is older."""
        return self._on(day).rates[kind if kind in _KINDS else SHARES, product, side]

    def dp_paise(self, day: int) -> int:
        """Return what the depository's part costs per scrip and day delivered, with GST."""
        return self._on(day).dp

    def note(self, day: int) -> str:
        """Return what has to be said of charges of *day*: nothing, or `at 2026 charges`."""
        return f"at {self.known_in} charges" if day < self.first_day else ""

    def _on(self, day: int) -> _Row:
        found = self._rows[0][1]
        for since, row in self._rows:
            if since <= day:
                found = row
        return found


def to_paise(amount: int) -> int:
    """Return 1e-8 paise as whole paise, half a paisa rounded up."""
    return (amount + UNIT // 2) // UNIT


def to_rupee(amount: int) -> int:
    """Return 1e-8 paise as paise of whole rupees, half a rupee rounded up: how contract notes round."""
    return (amount + 50 * UNIT) // (100 * UNIT) * 100


def _row(row: dict[str, Any]) -> _Row:
    gst = int(row["gst_percent"])
    found = {}
    for kind in _KINDS:
        for product in Product:
            own = {**row[product.value], **row.get(kind, {}).get(product.value, {})}
            for side in Side:
                buying = side is Side.BUY
                found[kind, product, side] = Rates(
                    brokerage=_percent(own["brokerage_percent"]),
                    brokerage_max_paise=_paise(own["brokerage_max_inr"]),
                    brokerage_min_paise=_paise(own["brokerage_min_inr"]),
                    stt=_percent(own["stt_buy_percent" if buying else "stt_sell_percent"]),
                    stamp=_percent(own["stamp_buy_percent"]) if buying else 0,
                    exchange=_percent(row["exchange_percent"]),
                    ipft=_percent(row["ipft_percent"]),
                    sebi=_percent(row["sebi_percent"]),
                    gst_percent=gst,
                )
    return _Row(found, to_paise(_paise(row["dp_inr"]) * UNIT * (100 + gst) // 100))


def _percent(text: object) -> int:
    return int(Decimal(str(text)) * UNIT / 100)


def _paise(text: object) -> int:
    return int(Decimal(str(text)) * 100)


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL
