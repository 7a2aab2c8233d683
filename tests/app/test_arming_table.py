from __future__ import annotations

import pytest

from app.arming_table import columns, findings, show_checks
from app.grid import lay_out
from order.account_state import AccountState
from order.checks import Check, Light

DEPLOYMENT = Check("deployment", Light.YELLOW, "of two families; live would refuse", "Say --family.")
CHANGED = Check("strategy", Light.YELLOW, "s: code changed")


def state(number: int, *checks: Check) -> AccountState:
    well = [Check(name, Light.GREEN, "well") for name in ("session", "address", "books", "orders")]
    return AccountState(
        f"user_{number:03}", "S0****01", True, True, state="EXIT_ONLY", checks=[*well, *checks, DEPLOYMENT]
    )


@pytest.mark.parametrize(("width", "dropped"), [(80, ["account"]), (120, [])])
def test_lights_fit_the_terminal(width: int, dropped: list[str]) -> None:
    grid = lay_out(columns(), [state(1, Check("funds", Light.YELLOW, "less"), CHANGED)], width)
    assert (max(map(len, grid.plain())) <= width, grid.dropped) == (True, dropped)
    head, row = (line.split() for line in grid.plain())
    cells = dict(zip(head, row, strict=True))
    assert (cells["funds"], cells["session"], cells["delivery"]) == ("told", "ok", "–")


def test_worst_light_of_a_name_is_shown() -> None:
    red = Check("strategy", Light.RED, "not kept")
    for checks in ((CHANGED, red), (red, CHANGED)):
        grid = lay_out(columns(), [state(1, *checks)], None)
        assert grid.plain()[1].split()[-1] == "NO"


def test_finding_of_many_is_told_once_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    states = [state(number, CHANGED) for number in range(1, 8)]
    house, *_ = findings(states)
    assert house[0] == DEPLOYMENT
    show_checks(states)
    said = capsys.readouterr().out
    assert said.count("code changed") == said.count("live would refuse") == 1
    assert "strategy     user_001, user_002, user_003, user_004 and 3 more: s: code changed" in said
    assert "→ Say --family." in said
    assert "well" not in said, "what is green has no line"
