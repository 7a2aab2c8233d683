from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from shared.models import Disposition, Product

if TYPE_CHECKING:
    from tests.order.conftest import Room

LONG, FLAT, SHORT = 10, 0, -10


def stand(room: Room, position: int) -> None:
    """Bring the one user of *room* to a position."""
    room.user()
    if position:
        room.give("ENTER_LONG" if position > 0 else "ENTER_SHORT")
    assert room.held() == position
    room.later(60)


@pytest.mark.parametrize(
    ("before", "kind", "after", "ended"),
    [
        (FLAT, "BUY", LONG, Disposition.ORDERED),
        (FLAT, "SELL", SHORT, Disposition.ORDERED),
        (FLAT, "ENTER_LONG", LONG, Disposition.ORDERED),
        (FLAT, "ENTER_SHORT", SHORT, Disposition.ORDERED),
        (FLAT, "EXIT_LONG", FLAT, Disposition.NOTHING_TO_EXIT),
        (FLAT, "EXIT_SHORT", FLAT, Disposition.NOTHING_TO_EXIT),
        (FLAT, "REVERSE", FLAT, Disposition.NOTHING_TO_EXIT),
        (LONG, "BUY", LONG, Disposition.ALREADY_THERE),
        (LONG, "ENTER_LONG", LONG, Disposition.ALREADY_THERE),
        (LONG, "SELL", FLAT, Disposition.ORDERED),
        (LONG, "EXIT_LONG", FLAT, Disposition.ORDERED),
        (LONG, "EXIT_SHORT", LONG, Disposition.NOTHING_TO_EXIT),
        (LONG, "ENTER_SHORT", LONG, Disposition.REFUSED),
        (SHORT, "BUY", FLAT, Disposition.ORDERED),
        (SHORT, "SELL", SHORT, Disposition.ALREADY_THERE),
        (SHORT, "ENTER_SHORT", SHORT, Disposition.ALREADY_THERE),
        (SHORT, "EXIT_SHORT", FLAT, Disposition.ORDERED),
        (SHORT, "ENTER_LONG", SHORT, Disposition.REFUSED),
    ],
)
def test_signal_read_against_position_ends_as_the_semantics_say(
    room: Room, before: int, kind: str, after: int, ended: Disposition
) -> None:
    stand(room, before)
    (row,) = room.give(kind)
    assert (room.held(), row.ended) == (after, ended)
    assert room.audit().clean


@pytest.mark.parametrize("product", list(Product))
def test_sell_when_flat_without_leave_to_short_exits_nothing(room: Room, product: Product) -> None:
    room.user(allow_short=False, product=product)
    assert room.give("SELL")[0].ended is Disposition.NOTHING_TO_EXIT


@pytest.mark.parametrize("kind", ["ENTER_SHORT", "REVERSE"])
def test_short_entry_without_leave_to_short_is_refused(room: Room, kind: str) -> None:
    room.user(allow_short=False)
    room.give("BUY")
    if kind == "ENTER_SHORT":
        room.give("EXIT_LONG")
    row = room.give(kind)[-1]
    assert (row.ended, row.rule.split(":")[0]) == (Disposition.REFUSED, "short_not_allowed")
    assert room.held() == 0


def test_short_entry_in_delivery_is_refused(room: Room) -> None:
    room.user(product=Product.DELIVERY, allow_short=True)
    assert room.give("ENTER_SHORT")[0].ended is Disposition.REFUSED


def test_add_to_a_position_buys_more(room: Room) -> None:
    stand(room, LONG)
    (row,) = room.give("ENTER_LONG", add=True)
    assert (row.ended, room.held()) == (Disposition.ORDERED, 20)


def test_exit_after_add_sells_all(room: Room) -> None:
    stand(room, LONG)
    room.give("BUY", add=True)
    room.give("SELL")
    assert room.held() == 0


def test_entry_at_work_counts_as_already_there(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    assert room.give("BUY")[0].ended is Disposition.ALREADY_THERE
