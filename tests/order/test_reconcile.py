"""A broker's account against our books: whose is what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from broker.base import VenueOrder, VenueState
from order.reconcile import Finding, Key, Kind, Sight, compare
from shared.models import Product, Side
from tests.order.venue import row

HERE = ("RELIANCE", "INTRADAY")
OURS = row("ours", VenueState.COMPLETE, filled=10, order_id="v1")


def foreign(side: Side, shares: int, order_id: str = "x1", reason: str = "") -> VenueOrder:
    return row(
        "", VenueState.COMPLETE, filled=shares, quantity=shares, side=side, order_id=order_id, reason=reason
    )


def look(
    ours: int,
    theirs: int,
    *rows: VenueOrder,
    key: Key = HERE,
    booked: Mapping[str, int] | None = None,
    held: Mapping[str, int] | None = None,
    owned: Mapping[str, int] | None = None,
) -> list[Finding]:
    given: Sequence[VenueOrder] = (OURS, *rows)
    sight = Sight(
        *({key: ours}, {key: theirs}, given, lambda each: each.tag == "ours"),
        *(booked or {}, held or {}, owned or {}),
    )
    return compare(sight)


def told(findings: list[Finding]) -> list[tuple[str, int, str]]:
    return [(each.kind.value, each.shares, each.order_id) for each in findings]


@pytest.mark.parametrize("shares", [10, 0, -10])
def test_same_on_both_sides_is_nothing_to_tell(shares: int) -> None:
    assert look(shares, shares) == []


def test_shares_of_others_beside_ours_are_external() -> None:
    assert told(look(10, 510, foreign(Side.BUY, 500))) == [("EXTERNAL", 500, "")]


def test_sale_of_others_shares_leaves_ours_alone() -> None:
    rows = (foreign(Side.BUY, 500), foreign(Side.SELL, 500, "x2"))
    assert look(10, 10, *rows) == []


def test_sale_by_hand_that_eats_into_ours_is_a_close() -> None:
    assert told(look(10, 0, foreign(Side.SELL, 10))) == [("BY_HAND", 10, "x1")]
    assert told(look(10, 4, foreign(Side.SELL, 6))) == [("BY_HAND", 6, "x1")]


def test_sale_of_just_our_size_beside_own_shares_is_a_close() -> None:
    rows = (foreign(Side.BUY, 500), foreign(Side.SELL, 10, "x2"))
    assert told(look(10, 500, *rows, owned={"x1": 500})) == [("BY_HAND", 10, "x2"), ("EXTERNAL", 500, "")]
    assert told(look(10, 500, *rows, owned={"x1": 500, "x2": 10})) == [("EXTERNAL", 490, "")]
    assert told(look(10, 501, foreign(Side.BUY, 500), foreign(Side.SELL, 9, "x2"), owned={"x1": 500})) == [
        ("EXTERNAL", 491, "")
    ]
    delivery = [msgspec.structs.replace(each, product=Product.DELIVERY) for each in rows[1:]]
    found = look(10, 0, *delivery, key=("RELIANCE", "DELIVERY"), held={"RELIANCE": 500})
    assert told(found) == [("BY_HAND", 10, "x2")]


def test_owner_who_trades_just_our_size_to_and_fro_leaves_ours_alone() -> None:
    assert look(10, 10, foreign(Side.BUY, 10), foreign(Side.SELL, 10, "x2")) == []


def test_order_seen_beside_ours_before_closes_nothing_later() -> None:
    assert told(look(-10, 490, foreign(Side.BUY, 500), owned={"x1": 500})) == [("EXTERNAL", 500, "")]


def test_purchase_by_hand_closes_a_short_position() -> None:
    assert told(look(-10, 0, foreign(Side.BUY, 10))) == [("BY_HAND", 10, "x1")]


def test_sale_beyond_ours_is_a_close_and_the_rest_is_theirs() -> None:
    assert told(look(10, -5, foreign(Side.SELL, 15))) == [("BY_HAND", 10, "x1"), ("EXTERNAL", -5, "")]


def test_close_takes_from_the_latest_order_first() -> None:
    rows = (foreign(Side.SELL, 4, "x1"), foreign(Side.SELL, 6, "x2"))
    assert told(look(10, 0, *rows)) == [("BY_HAND", 6, "x2"), ("BY_HAND", 4, "x1")]


@pytest.mark.parametrize("words", ["auto square off", "RMS: Auto Square-Off", "AUTO SQUAREOFF done"])
def test_close_in_the_brokers_words_is_a_square_off(words: str) -> None:
    assert told(look(10, 0, foreign(Side.SELL, 10, reason=words))) == [("BROKER_SQUAREOFF", 10, "x1")]


def test_close_that_is_booked_is_no_news() -> None:
    assert look(0, 0, foreign(Side.SELL, 10), booked={"x1": 10}) == []


@pytest.mark.parametrize(("theirs", "covered"), [(15, True), (4, False), (-10, False)])
def test_what_no_order_explains_is_a_difference(theirs: int, covered: bool) -> None:
    (found,) = look(10, theirs)
    assert (found.kind, found.covered) == (Kind.DIFFERENCE, covered)
    assert found.text == f"RELIANCE INTRADAY: {theirs} at the broker, 10 here"


def test_part_that_others_orders_do_not_explain_is_a_difference_and_no_close() -> None:
    (found,) = look(10, 0, foreign(Side.SELL, 9))
    assert (found.kind, found.covered) == (Kind.DIFFERENCE, False)
    assert "-9 by others' orders" in found.text


def test_order_of_others_that_is_not_filled_is_nothing() -> None:
    assert look(10, 10, row("", order_id="x1")) == []


def test_shares_that_lie_in_the_demat_account_are_there() -> None:
    key = ("RELIANCE", "DELIVERY")
    assert look(10, 0, key=key, held={"RELIANCE": 510}) == []
    (found,) = look(10, 0, key=key, held={"RELIANCE": 9})
    assert found.kind is Kind.DIFFERENCE
    (found,) = look(10, 0, held={"RELIANCE": 510})  # bought intraday, it is not among them
    assert found.kind is Kind.DIFFERENCE
