from __future__ import annotations

from app.screen import FULL_LINES, Thrift


def test_thrift_lets_the_first_lines_through_then_one_a_second() -> None:
    now = [0.0]
    thrift = Thrift(lambda: now[0])
    assert [thrift.take() for _ in range(FULL_LINES)] == [0] * FULL_LINES
    assert [thrift.take() for _ in range(5)] == [None] * 5
    now[0] = 1.0
    assert thrift.take() == 5
    assert thrift.take() is None
    assert thrift.rest() == 1
    assert thrift.rest() == 0


def test_thrift_after_a_quiet_time_is_generous_again() -> None:
    now = [0.0]
    thrift = Thrift(lambda: now[0])
    while thrift.take() is not None:
        pass
    thrift.rest()
    now[0] = 3600.0
    assert [thrift.take() for _ in range(FULL_LINES + 1)] == [0] * FULL_LINES + [None]
