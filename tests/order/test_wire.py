from __future__ import annotations

from order.wire import Line, Wire


def test_nothing_is_shared_between_two_orders_or_accounts() -> None:
    first, second = Wire(), Wire()
    first.fills["f1"] = 1
    assert second.fills == {}
    here, there = Line(), Line()
    here.ended.add("tag")
    here.known_ids.add("1")
    assert (there.ended, there.known_ids, there.orders) == (set(), set(), {})
