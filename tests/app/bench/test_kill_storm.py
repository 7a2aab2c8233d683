from __future__ import annotations

from pathlib import Path

import pytest

from app.bench import kill_storm
from app.bench.kill_storm import Storm, figure


@pytest.mark.parametrize(("last", "after", "met"), [
    (1_000.0, 5, True), (1_000.1, 5, False), (10.0, 4, False), (10.0, 6, False),
])  # fmt: skip
def test_figure_is_met_by_the_worst_storm_and_all_stops(last: float, after: int, met: bool) -> None:
    made = figure("kill_paper", [Storm(2_000, 5, 600, 5, 5), Storm(1_990, last, 600, 5, after)], 500.0, 2_000)
    assert made.met is met
    assert made.value == last


def test_storm_without_a_stop_shows_nothing() -> None:
    assert not figure("kill_paper", [Storm(2_000, 5, 600, 0, 0)], 500.0, 2_000).met


@pytest.mark.timeout(240)
async def test_kill_ends_a_storm_on_a_sandbox_and_leaves_its_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_storm, "SANDBOX_ACCOUNTS", 2)
    monkeypatch.setattr(kill_storm, "SANDBOX_RATE", 8)
    storm = await kill_storm.kill_sandbox(tmp_path, 1)
    assert "2 stops, 0 lost" in storm.note
    assert storm.value is not None and storm.value < 30_000
