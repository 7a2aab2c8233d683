"""The switches: HALT takes no entries, KILL also cancels them, FLATTEN also closes positions. Pure.

A switch stands for the whole house, a user, a strategy, or one user's part in a strategy. One that a human
turns holds in every market until it is resumed; one that a rule turns (a day's loss, rejections in a row)
holds in its market for its day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from order.books import BookKey
from shared.calendar import DAY_US, IST_OFFSET_US, day_of
from shared.errors import ConfigurationError

SWITCH = "switch"
"""The kind of mark that keeps one; that of the house is kept under the number below the first user's."""

FEED_SILENT = "feed_silent"
"""The kind of mark of the house that says, by market, since when no price has come; 0: they come."""

LATCH_FILE = "KILL"
"""A file of that name in the state folder is a KILL of the house for as long as it lies there."""

LATCHED = "killed", f"the file {LATCH_FILE} lies in the state folder; `trading resume` removes it"


class Level(StrEnum):
    """What a switch does; each does all that the one before does."""

    OFF = "OFF"
    HALT = "HALT"
    KILL = "KILL"
    FLATTEN = "FLATTEN"

    @property
    def rank(self) -> int:
        """0 for OFF; higher is stronger."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}
_RULES = {Level.HALT: "halted", Level.KILL: "killed", Level.FLATTEN: "flattened"}

Scope = tuple[int, str, str]
"""User number (0: the house), strategy id (empty: all), market (empty: all)."""


@dataclass(frozen=True, slots=True)
class Switch:
    """How one switch stands.

    Attributes:
        day: Trading day for which it holds, days since the epoch, IST; 0: until it is resumed.
        why: In words: who turned it, or which limit was met.
        at_us: Wall time.
    """

    scope: Scope
    level: Level
    day: int
    why: str
    at_us: int

    @property
    def subject(self) -> str:
        """What a mark is kept under, beside the user's number."""
        return f"{self.scope[1]}|{self.scope[2]}"

    @property
    def value(self) -> str:
        """What a mark keeps."""
        return msgspec.json.encode([self.level, self.day, self.why, self.at_us]).decode()

    @classmethod
    def stored(cls, user_no: int, subject: str, value: str) -> Switch:
        """Return the switch that a mark keeps; *user_no* is 0 for the house."""
        level, day, why, at_us = msgspec.json.decode(value)
        strategy_id, _, market = subject.rpartition("|")
        return cls((user_no, strategy_id, market), Level(level), int(day), str(why), int(at_us))


class TurnRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a human asks for.

    Attributes:
        level: OFF resumes.
        user_id, strategy_id: Of whom and what; empty: all.
        why: In words.
    """

    level: Level
    user_id: str = ""
    strategy_id: str = ""
    why: str = ""


class SwitchView(msgspec.Struct, frozen=True):
    """A switch as it is shown.

    Attributes:
        user_id, strategy_id, market: Of whom, what and where; empty: all.
        until: `resumed`, or the day (YYYY-MM-DD) after which it holds no more.
        at_us: Wall time.
    """

    level: Level
    user_id: str
    strategy_id: str
    market: str
    until: str
    why: str
    at_us: int

    @property
    def whole_kill(self) -> bool:
        """Whether it is what the latch file is laid for."""
        return self.level.rank >= Level.KILL.rank and not (self.user_id or self.strategy_id or self.market)

    def __str__(self) -> str:
        parts = [f"user {self.user_id}" * bool(self.user_id)]
        parts += [f"strategy {self.strategy_id}" * bool(self.strategy_id)]
        whom = ", ".join(part for part in parts if part) or "the house"
        where = f" in {self.market}" if self.market else ""
        return f"{self.level} of {whom}{where} until {self.until}: {self.why}"


@dataclass(slots=True)
class Switches:
    """All switches that are not off, or were turned off today.

    Attributes:
        latched: The latch file lies in the state folder.
        flattening: Some switch is at FLATTEN.
    """

    latched: bool = False
    flattening: bool = False
    _found: dict[Scope, Switch] = field(default_factory=dict)

    def turn(self, switch: Switch) -> None:
        """Take *switch* in place of the one before it."""
        self._found[switch.scope] = switch
        if switch.level is Level.OFF and not switch.day:
            del self._found[switch.scope]
        self.flattening = any(each.level is Level.FLATTEN for each in self._found.values())

    def get(self, scope: Scope) -> Switch | None:
        """Return the switch of exactly that *scope*, also one that is off."""
        return self._found.get(scope)

    def __bool__(self) -> bool:
        return self.latched or bool(self._found)

    def __iter__(self) -> Iterator[Switch]:
        return (each for each in self._found.values() if each.level is not Level.OFF)

    def strongest(self, user_no: int, strategy_id: str, market: str, day: int) -> Switch | None:
        """Return the strongest switch that holds for a book on a trading day, or None."""
        if not self._found:
            return None
        best: Switch | None = None
        for user in (0, user_no):
            for strategy in ("", strategy_id):
                for where in ("", market):
                    found = self._found.get((user, strategy, where))
                    if (
                        found is not None
                        and found.day in (0, day)
                        and found.level.rank > (best.level.rank if best is not None else 0)
                    ):
                        best = found
        return best

    def refusal(self, user_no: int, strategy_id: str, market: str, day: int) -> tuple[str, str] | None:
        """Return the rule and the reason why a book takes no entries, or None where no switch says so."""
        if self.latched:
            return LATCHED
        found = self.strongest(user_no, strategy_id, market, day)
        return None if found is None else (_RULES[found.level], found.why)


def book_scope(key: BookKey, names: Mapping[int, str]) -> tuple[int, str, str]:
    """Return user, strategy id and market of a book."""
    return key[4], names[key[1]], names[key[0]]


def turned(before: Switch | None, scope: Scope, level: Level, why: str, now_us: int) -> Switch:
    """Return how a switch stands after a human has turned it; a weaker level never replaces a stronger one.

    Raises:
        ConfigurationError: It stands there already, or a weaker one was asked for.
    """
    was = before.level if before is not None else Level.OFF
    if level is not Level.OFF and was.rank > level.rank and before is not None and not before.day:
        raise ConfigurationError(
            f"It is at {was} already, which does all that {level} does.",
            remedy="`trading resume` first, where you want less.",
        )
    return Switch(scope, level, 0, why, now_us)


def view_of(switch: Switch, user_id: str) -> SwitchView:
    """Return *switch* as it is shown."""
    _, strategy_id, market = switch.scope
    until = str(day_of(switch.day * DAY_US - IST_OFFSET_US)) if switch.day else "resumed"
    return SwitchView(switch.level, user_id, strategy_id, market, until, switch.why, switch.at_us)
