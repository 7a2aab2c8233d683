"""Charges of an executed order, dated, exact to the paisa.

Per order STT is an estimate: the exchange nets it per client, scrip and day.
Rates: `data/charges.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from shared.models import Product, Side

DATA = Path(__file__).parent.parent / "data" / "charges.json"

# A rate is kept as whole units of 1e-8, so that all sums are integers.
_UNIT = 100_000_000
_REMEMBERED = 4096
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class _Rates:
    brokerage: int
    brokerage_max_paise: int
    brokerage_min_paise: int
    fees: int
    taxed_fees: int
    gst_percent: int


class Charges:
    """The rate table.

    Attributes:
        first_day: Trades before this day (days since the epoch) are charged at its rates.
    """

    def __init__(self, path: Path = DATA) -> None:
        rows = json.loads(path.read_text())["rows"]
        self._rows = sorted((_day(row["from"]), _rates(row)) for row in rows)
        self.first_day = self._rows[0][0]
        self._known: dict[tuple[Side, Product, int, int], int] = {}

    def order_paise(self, side: Side, product: Product, value_paise: int, day: int) -> int:
        """Return the charges of one executed order, whole paise, half a paisa rounded up.

        Args:
            side: BUY or SELL.
            product: INTRADAY or DELIVERY.
            value_paise: Filled quantity times price; 0 costs nothing.
            day: Trade date, days since the epoch in IST.
        """
        # Users of one signal mostly share all four.
        key = (side, product, value_paise, day)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._compute(side, product, value_paise, day)
        return known

    def _compute(self, side: Side, product: Product, value_paise: int, day: int) -> int:
        if value_paise <= 0:
            return 0
        table = self._rows[0][1]
        for since, rates in self._rows:
            if since <= day:
                table = rates
        r = table[side, product]
        cap, floor = r.brokerage_max_paise * _UNIT, r.brokerage_min_paise * _UNIT
        brokerage = max(floor, min(cap, value_paise * r.brokerage))
        taxed = brokerage + value_paise * r.taxed_fees
        total = (taxed * (100 + r.gst_percent) + value_paise * r.fees * 100) // 100
        return (total + _UNIT // 2) // _UNIT


def _rates(row: dict[str, str | dict[str, str]]) -> dict[tuple[Side, Product], _Rates]:
    found = {}
    taxed = sum(_percent(row[name]) for name in ("exchange_percent", "ipft_percent", "sebi_percent"))
    for product in Product:
        own = row[product.value]
        assert isinstance(own, dict)
        for side in Side:
            fees = _percent(own["stt_buy_percent"]) + _percent(own["stamp_buy_percent"])
            if side is Side.SELL:
                fees = _percent(own["stt_sell_percent"])
            found[side, product] = _Rates(
                brokerage=_percent(own["brokerage_percent"]),
                brokerage_max_paise=int(Decimal(own["brokerage_max_inr"]) * 100),
                brokerage_min_paise=int(Decimal(own["brokerage_min_inr"]) * 100),
                fees=fees,
                taxed_fees=taxed,
                gst_percent=int(str(row["gst_percent"])),
            )
    return found


def _percent(text: object) -> int:
    return int(Decimal(str(text)) * _UNIT / 100)


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL
