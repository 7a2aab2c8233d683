"""HALT, KILL and FLATTEN: what each stops, how far each reaches, and how each stands."""

from __future__ import annotations

import pytest

from order.switches import Level, Switch, Switches, turned, view_of
from shared.errors import ConfigurationError

DAY = 19_905


def switch(level: Level, user: int = 0, strategy: str = "", market: str = "", day: int = 0) -> Switch:
    return Switch((user, strategy, market), level, day, "because", 1)


def levels(switches: Switches, user: int = 1, strategy: str = "s", day: int = DAY) -> Level:
    found = switches.strongest(user, strategy, "live", day)
    return Level.OFF if found is None else found.level


@pytest.mark.parametrize(
    ("made", "reached"),
    [
        (switch(Level.HALT), True),
        (switch(Level.HALT, user=1), True),
        (switch(Level.HALT, user=2), False),
        (switch(Level.HALT, strategy="s"), True),
        (switch(Level.HALT, strategy="t"), False),
        (switch(Level.HALT, user=1, strategy="s"), True),
        (switch(Level.HALT, user=1, strategy="t"), False),
        (switch(Level.HALT, user=1, market="live", day=DAY), True),
        (switch(Level.HALT, user=1, market="sim", day=DAY), False),
        (switch(Level.HALT, user=1, market="live", day=DAY - 1), False),
    ],
)
def test_switch_reaches_its_scope_and_nothing_else(made: Switch, reached: bool) -> None:
    switches = Switches()
    switches.turn(made)
    assert (levels(switches) is Level.HALT) is reached
    assert (switches.refusal(1, "s", "live", DAY) == ("halted", "because")) is reached


def test_strongest_switch_wins_whatever_its_scope() -> None:
    switches = Switches()
    for made in (switch(Level.FLATTEN, user=1), switch(Level.HALT), switch(Level.KILL, strategy="s")):
        switches.turn(made)
    assert levels(switches) is Level.FLATTEN
    assert levels(switches, user=2) is Level.KILL
    assert levels(switches, user=2, strategy="t") is Level.HALT
    assert switches.flattening


def test_resumed_switch_leaves_nothing_behind_and_one_of_a_day_is_remembered() -> None:
    switches = Switches()
    assert not switches
    for level in (Level.FLATTEN, Level.OFF):
        switches.turn(switch(level))
    assert not switches
    assert not switches.flattening
    switches.turn(switch(Level.OFF, day=DAY))
    assert list(switches) == []
    assert switches.get((0, "", "")) is not None


def test_latch_file_kills_the_house() -> None:
    switches = Switches(latched=True)
    assert switches.refusal(1, "s", "live", DAY) == (
        "killed", "the file KILL lies in the state folder; `trading resume` removes it",
    )  # fmt: skip


def test_weaker_switch_is_refused_where_a_stronger_one_stands() -> None:
    with pytest.raises(ConfigurationError, match="at KILL already"):
        turned(switch(Level.KILL), (0, "", ""), Level.HALT, "", 5)
    assert turned(switch(Level.KILL), (0, "", ""), Level.FLATTEN, "", 5).level is Level.FLATTEN
    assert turned(switch(Level.KILL), (0, "", ""), Level.OFF, "", 5).level is Level.OFF


def test_stored_switch_is_the_same_and_says_what_it_is() -> None:
    made = switch(Level.FLATTEN, 3, "a|b", "live", DAY)
    assert Switch.stored(3, made.subject, made.value) == made
    assert str(view_of(made, "u3")) == (
        "FLATTEN of user u3, strategy a|b in live until 2024-07-01: because"
    )
    assert str(view_of(switch(Level.HALT), "")) == "HALT of the house until resumed: because"
