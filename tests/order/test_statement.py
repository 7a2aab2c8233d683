from __future__ import annotations

from decimal import Decimal

from order.charges import Charges
from order.day_end import Line
from order.statement import KINDS, Adjusted, Intent, Owner, Statement, Traded, statement
from shared.clock import DAY_US
from shared.models import Side

DAY = 20_635
"""1 July 2026."""
OWNER = Owner("u1", "Asha", "live")
BOOK = (1, 2, 3, "INTRADAY", 1)
NAMES = {2: "s", 3: "RELIANCE"}


def fill(
    number: int, side: Side, quantity: int, price_paise: int, charges_paise: int = 100, day: int = DAY
) -> Traded:
    key = (number, 1, 0, 0, 0)
    return Traded(key, BOOK, side, quantity, price_paise, charges_paise, day * DAY_US, day, "EQ")


def intent(number: int, side: Side, reference_paise: int, rule: str = "", ended: str = "ORDERED") -> Intent:
    return Intent(
        (number, 1, 0, 0, 0), f"T{number}", "s", "RELIANCE", "ENTRY", side, "INTRADAY", 10, "FILLED", ended,
        rule, reference_paise, DAY * DAY_US, 2, 3,
    )  # fmt: skip


def made(
    fills: list[Traded],
    *,
    intents: tuple[Intent, ...] = (),
    adjusted: tuple[Adjusted, ...] = (),
    booked: dict[int, Line] | None = None,
    marks: dict[str, int] | None = None,
) -> Statement:
    return statement(OWNER, DAY, intents, fills, adjusted, booked or {}, NAMES, marks or {}, Charges())


def test_what_is_carried_is_what_was_brought_and_the_day() -> None:
    found = made(
        [
            fill(1, Side.BUY, 10, 10_000, day=DAY - 1),
            fill(2, Side.SELL, 4, 11_000),
            fill(3, Side.SELL, 6, 99_999, day=DAY + 1),
        ],
        adjusted=(Adjusted(DAY - 1, BOOK, 7), Adjusted(DAY, BOOK, -30), Adjusted(DAY + 1, BOOK, 500)),
        marks={"RELIANCE": 12_000},
    )
    assert (found.brought.realised, found.brought.charges) == (Decimal("0.00"), Decimal("1.07"))
    assert (found.of_day.realised, found.of_day.charges) == (Decimal("40.00"), Decimal("0.70"))
    assert found.carried.net == found.brought.net + found.of_day.net == Decimal("38.23")
    assert [(line.quantity, line.unrealised) for line in found.positions] == [(6, Decimal("120.00"))]
    assert found.net == Decimal("158.23")
    assert found.adjustment == Decimal("-0.30")
    assert [line.realised for line in found.fills] == [Decimal("40.00")]


def test_position_without_a_price_is_counted_and_not_valued() -> None:
    found = made([fill(1, Side.BUY, 10, 10_000)])
    assert (found.unpriced, found.unrealised) == (1, Decimal("0.00"))
    assert found.positions[0].unrealised is None


def test_slippage_is_what_was_paid_beyond_the_reference_on_either_side() -> None:
    found = made(
        [fill(1, Side.BUY, 10, 10_010), fill(2, Side.SELL, 10, 10_030), fill(3, Side.BUY, 1, 5)],
        intents=(intent(1, Side.BUY, 10_000), intent(2, Side.SELL, 10_050), intent(3, Side.BUY, 0)),
    )
    assert [(line.slippage, line.slippage_bps) for line in found.orders] == [
        (Decimal("1.00"), Decimal("10.00")),
        (Decimal("2.00"), Decimal("19.90")),
        (None, None),
    ]
    assert (found.slippage, found.slippage_bps) == (Decimal("3.00"), Decimal("14.96"))
    assert {(line.place, line.of) for line in found.orders} == {(2, 3)}


def test_charges_by_kind_of_a_day_that_is_over_are_those_of_the_contract_note() -> None:
    line = (300, 1000, 200, 2360, 333)
    found = made(
        [fill(1, Side.BUY, 10, 10_000, 333)], booked={3: line}, adjusted=(Adjusted(DAY, BOOK, 3860 - 333),)
    )
    assert found.booked
    assert [found.charges[kind] for kind in ("stt", "stamp", "dp")] == [10, 2, Decimal("23.60")]
    assert sum(found.charges[kind] for kind in KINDS[:5]) == Decimal("3.00")
    assert found.charges["brokerage"] > found.charges["gst"] > found.charges["sebi"]


def test_charges_by_kind_add_up_also_where_a_fill_came_after_the_books_were_closed() -> None:
    found = made([fill(1, Side.BUY, 10, 10_000, 333)], booked={3: (1, 100, 100, 0, 201)})
    assert sum(found.charges.values()) == found.of_day.charges == Decimal("3.33")
    only_adjusted = made([], adjusted=(Adjusted(DAY, BOOK, 11),))
    assert sum(only_adjusted.charges.values()) == only_adjusted.of_day.charges == Decimal("0.11")


def test_refusals_are_counted_by_rule_whatever_the_values() -> None:
    said = [("session: late", "REFUSED"), ("session: later", "REFUSED"), ("", "ORDERED")]
    found = made([], intents=tuple(intent(no, Side.BUY, 1, *each) for no, each in enumerate(said)))
    assert [(line.disposition, line.reason, line.count) for line in found.dispositions] == [
        ("ORDERED", "", 1),
        ("REFUSED", "session", 2),
    ]
    assert found.orders[0].reason == "session: late"
