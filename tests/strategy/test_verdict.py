from __future__ import annotations

from dataclasses import replace

import pytest

from shared.bus.pointer import NOWHERE, Cursor, Forged, Pointer
from shared.bus.stream import Sight
from strategy.outbox import Epoch
from strategy.verdict import InStep, Ledger, Place, Renew, Verdict, first_to_send, judge, lowest_taken

OLD = Epoch("e1", 1, full=True, placed=True)
NOW = Epoch("e2", 4, full=False, placed=True)
LEDGER = Ledger(head=10, first=1, epochs=(OLD, NOW), digest="d8")
POINTER = Pointer("e2", 4, False, 8, "d8")
SIGHT = Sight(POINTER, "8-0", {"g": Cursor("e2", 8)}, {})


def judged(proved: bool = False, ledger: Ledger = LEDGER, **changes: object) -> Verdict:
    return judge(replace(SIGHT, **changes), ledger, proved=proved)  # type: ignore[arg-type]  # a dict of fields


def test_redis_as_it_was_left_is_in_step() -> None:
    assert judged() == InStep(8)


@pytest.mark.parametrize(
    ("changes", "void"),
    [
        ({"pointer": None}, False),
        ({"pointer": Forged("x")}, False),
        ({"pointer": replace(POINTER, epoch="e1")}, False),
        ({"pointer": replace(POINTER, epoch="unknown")}, True),
        ({"pointer": replace(POINTER, seq=11), "last_id": "11-0"}, True),
        ({"pointer": replace(POINTER, digest="other")}, True),
        ({"last_id": ""}, False),
        ({"last_id": "8-1"}, False),
        ({"last_id": "1795390646329-0"}, False),
        ({"cursors": {"g": Cursor("e2", 11)}}, True),
        ({"cursors": {"g": Cursor("e1", 11)}}, True),
        ({"repairs": {"g": ("e2", "gap")}}, False),
        ({"repairs": {"g": ("", "gap")}}, False),
    ],
)
def test_anything_else_opens_a_new_epoch(changes: dict[str, object], void: bool) -> None:
    verdict = judged(**changes)  # type: ignore[arg-type]  # a dict of fields
    assert isinstance(verdict, Renew) and verdict.void_older is void


def test_digest_of_a_row_no_longer_kept_opens_a_new_epoch() -> None:
    assert isinstance(judged(ledger=replace(LEDGER, digest=None)), Renew)


def test_repair_of_an_older_epoch_is_done_already() -> None:
    assert judged(repairs={"g": ("e1", "gap")}) == InStep(8)


def test_cursor_beyond_the_head_is_believed_only_before_proof() -> None:
    assert judged(proved=True, cursors={"g": Cursor("e2", 11)}) == InStep(8)
    assert judged(cursors={"g": Cursor("other", 99)}) == InStep(8)


def test_epoch_not_placed_yet_is_placed() -> None:
    fresh = replace(LEDGER, epochs=(OLD, replace(NOW, placed=False)))
    assert judged(ledger=fresh, pointer=None) == Place()
    assert judged(ledger=fresh, pointer=replace(POINTER, epoch="e1")) == Place()
    assert isinstance(judged(ledger=fresh, pointer=replace(POINTER, epoch="unknown")), Renew)
    first = replace(LEDGER, epochs=(Epoch("e0", 1, full=True),))
    assert judged(ledger=first, pointer=replace(POINTER, epoch="unknown")) == Place()


def test_lowest_cursor_counts_each_group_and_mistrusts_other_histories() -> None:
    assert lowest_taken({}, LEDGER) is None
    assert lowest_taken({"a": Cursor("e2", 8), "b": Cursor("e1", 3)}, LEDGER) == 3
    assert lowest_taken({"a": Cursor("e2", 8), "b": NOWHERE}, LEDGER) == 0
    assert lowest_taken({"a": Cursor("e2", 11)}, replace(LEDGER, first=5)) == 4
    void = replace(LEDGER, epochs=(replace(OLD, void=True), NOW))
    assert lowest_taken({"a": Cursor("e1", 8)}, void) == 0


@pytest.mark.parametrize(
    ("cursors", "proved", "void", "start"),
    [
        ({"a": Cursor("e2", 8)}, True, False, 9),
        ({"a": Cursor("e2", 10)}, True, False, 11),
        ({"a": Cursor("e2", 8)}, False, False, 3),
        ({"a": Cursor("e2", 8)}, True, True, 3),
        ({}, True, False, 3),
        ({"a": Cursor("e1", 1)}, True, False, 3),
    ],
)
def test_new_epoch_starts_where_nobody_misses_anything(
    cursors: dict[str, Cursor], proved: bool, void: bool, start: int
) -> None:
    ledger = replace(LEDGER, first=3)
    assert first_to_send(cursors, ledger, proved=proved, void=void) == start
