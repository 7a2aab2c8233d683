"""Switches turned by whoever keeps the books: on PostgreSQL one process for each group, or this one."""

from __future__ import annotations

import asyncio
import os
import pwd
from contextlib import closing

import msgspec

from app.review import keeper
from order.reading import Reader
from order.switches import Level, SwitchView, TurnRequest
from shared.errors import LockHeld, TradingError
from shared.settings import Settings


class NotEverywhere(TradingError):
    """A switch could not be turned in every group."""


def turn(
    level: str, user_id: str, strategy_id: str, why: str, *, group: str | None, as_json: bool
) -> None:
    """Turn a switch and print those that are on then.

    Args:
        level: `HALT`, `KILL`, `FLATTEN`, or `OFF` to resume.
        user_id, strategy_id: Of whom and what; both empty: the house.
        why: A note; who turned it is kept as well.
        group: Only there; None: in every group that has users. On SQLite there is one.
        as_json: One object for each switch.

    Raises:
        ConfigurationError: There is no such user or strategy, or a stronger switch stands there already.
        NotEverywhere: A group's books are kept on another machine, which has to be told there.
    """
    settings = Settings.load()
    who = pwd.getpwuid(os.getuid()).pw_name
    asked = TurnRequest(Level(level), user_id, strategy_id, f"{why} ({who})" if why else f"by {who}")
    found: list[SwitchView] = []
    missed: list[str] = []
    for name in _groups(settings, asked, group):
        try:
            found += asyncio.run(_turn(settings, name, asked))
        except LockHeld as error:
            missed.append(f"{name or 'the order side'}: {error.what}")
    _print(found, as_json)
    if missed:
        raise NotEverywhere(
            f"Not turned everywhere: {' '.join(missed)}", remedy="Give the command on that machine as well."
        )


async def _turn(settings: Settings, group: str | None, asked: TurnRequest) -> list[SwitchView]:
    async with keeper(settings, group) as manager:
        return await manager.turn(asked)


def _groups(settings: Settings, asked: TurnRequest, group: str | None) -> list[str | None]:
    """Return the groups that a switch reaches; None stands for the only writer of SQLite."""
    if settings.postgres_url is None:
        return [None]
    if group is not None:
        return [group]
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        users = [user for user in reader.users() if asked.user_id in ("", user.user_id)]
    return [*sorted({user.group for user in users})] or [None]


def _print(switches: list[SwitchView], as_json: bool) -> None:
    if as_json:
        for switch in switches:
            print(msgspec.json.encode(switch).decode())
    else:
        print("\n".join(map(str, switches)) or "Nothing is switched off: entries are taken.")
