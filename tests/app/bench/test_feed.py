from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.bench.feed import feed_ticks, growth, resident_mb


def memory(*parts: tuple[int, float]) -> list[tuple[float, float]]:
    """Samples each second: so many seconds at so many MB, one part after the other."""
    values = [mb for seconds, mb in parts for _ in range(seconds)]
    return [(float(at), mb) for at, mb in enumerate(values)]


def test_memory_that_stays_is_met_whatever_came_before() -> None:
    made = growth(memory((60, 50.0), (541, 100.0)), 60.0, "")
    assert made.met
    assert (made.value, made.floor, made.ratio) == (100.0, 100.0, 1.0)


@pytest.mark.parametrize(("last", "met"), [(101.9, True), (102.1, False)])
def test_memory_may_end_two_percent_above_the_first_minute(last: float, met: bool) -> None:
    made = growth(memory((500, 100.0), (101, last)), 60.0, "")
    assert made.met is met


def test_memory_that_creeps_is_not_met() -> None:
    made = growth([(float(at), 100.0 + at * 0.01) for at in range(601)], 60.0, "")
    assert not made.met


def test_memory_of_a_peak_that_is_given_back_is_met() -> None:
    assert growth(memory((300, 100.0), (30, 300.0), (271, 100.0)), 60.0, "").met


def test_resident_memory_sees_what_is_held() -> None:
    # A process of its own: one that has had much memory before takes it again without growing.
    script = "held = bytearray(b'x' * 50_000_000); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 50 < resident_mb(child.pid) < 90
        child.communicate(b"\n")


async def test_ticks_come_through_the_whole_live_path(tmp_path: Path) -> None:
    made = await feed_ticks(tmp_path, 1, 0.5)
    assert made.value is not None and made.value > 0
    assert made.floor > 0
