from __future__ import annotations

import os

import pytest

from app.bench.sandbox_side import Work, busy_s, sandbox
from shared.errors import VenueUnavailable

STAT = "cpu  100 20 30 5000 400 7 8 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


def test_busy_seconds_leave_out_idling_and_waiting() -> None:
    assert busy_s(STAT) == pytest.approx(174 / os.sysconf("SC_CLK_TCK"))


def test_work_since_tells_others_apart() -> None:
    before, after = Work(10.0, 1.0, 2.0, 100.0), Work(20.0, 3.0, 5.0, 112.0)
    assert after.since(before) == "CPU 20 % here, 30 % sandbox, 70 % others"


def test_work_of_this_process_is_counted() -> None:
    before = Work.now(os.getpid())
    while (after := Work.now(os.getpid())).ours_s - before.ours_s < 0.02:
        pass
    assert after.theirs_s > before.theirs_s
    assert after.at_s > before.at_s


async def test_sandbox_that_does_not_start_is_told() -> None:
    with pytest.raises(VenueUnavailable, match="did not start"):
        async with sandbox(0):
            pass
