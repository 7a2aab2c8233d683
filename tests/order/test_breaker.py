from __future__ import annotations

import pytest

from broker.base import Accepted, NotSent, PlaceOutcome, Rejected, Unknown
from order.breaker import LOST_IN_A_ROW, PAUSE_S, Breaker

LOST = Unknown("time-out")


def opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker("u1")
    for _ in range(LOST_IN_A_ROW):
        assert breaker.holds(at_s) == ""
        breaker.sent(LOST, at_s)
    return breaker


def test_lost_answers_in_a_row_open_it() -> None:
    breaker = opened()
    assert breaker.open
    assert breaker.holds(0) == breaker.notes[0] == "3 sends in a row had no answer; entries wait"


@pytest.mark.parametrize("answer", [Accepted("v1"), Rejected("RMS: margin")])
def test_any_answer_closes_it_and_begins_the_count_anew(answer: PlaceOutcome) -> None:
    breaker = opened()
    breaker.sent(answer, 1)
    assert (breaker.open, breaker.holds(1), breaker.notes) == (False, "", [])
    breaker.sent(LOST, 2)
    assert not breaker.open


def test_what_never_left_says_nothing() -> None:
    breaker = opened()
    breaker.sent(NotSent("no connection"), 1)
    assert breaker.open
    closed = Breaker("u1")
    for _ in range(9):
        closed.sent(NotSent("no connection"), 1)
    assert not closed.open


def test_one_probe_goes_after_the_pause_and_a_lost_one_opens_it_anew() -> None:
    breaker = opened()
    assert breaker.holds(PAUSE_S - 0.1)
    assert not breaker.holds(PAUSE_S)
    assert breaker.holds(PAUSE_S), "one at a time"
    breaker.sent(LOST, PAUSE_S + 5)
    assert breaker.holds(2 * PAUSE_S + 4.9)
    assert not breaker.holds(2 * PAUSE_S + 5)
    breaker.sent(Accepted("v1"), 99)
    assert not breaker.holds(99)
