from __future__ import annotations

import msgspec
import pytest

from broker.base import OrderTerms, VenueCancel
from broker.shadow import make
from shared.models import OrderType, Product, Quote, Side

MARKET = OrderTerms(Side.BUY, 10, OrderType.MARKET, Product.INTRADAY, 250_005, True, 0, "RELIANCE", 5, 3)
QUOTE = Quote("RELIANCE", 250_000, 0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "BUY 10 RELIANCE INTRADAY as a LIMIT with protection near 2500.05"),
        ({"order_type": OrderType.LIMIT}, "BUY 10 RELIANCE INTRADAY LIMIT at 2500.05"),
        (
            {"order_type": OrderType.SL_LIMIT, "side": Side.SELL, "trigger_paise": 249_000},
            "SELL 10 RELIANCE INTRADAY SL_LIMIT at 2500.05, trigger 2490.00",
        ),
    ],
)
@pytest.mark.parametrize("quote", [None, QUOTE])
def test_everything_ends_with_what_would_have_been_sent(
    changed: dict[str, object], told: str, quote: Quote | None
) -> None:
    terms = msgspec.structs.replace(MARKET, **changed)
    expected = VenueCancel(f"shadow: {told} would have been sent")
    assert make("realistic").place(terms, quote) == expected
    assert make("realistic").match(terms, QUOTE) == expected
