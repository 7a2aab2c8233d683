"""Switches turned by whoever keeps the books: on PostgreSQL one process for each group, or this one."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from collections.abc import Sequence
from contextlib import closing

import msgspec

from app.review import keeper
from order.place import Place
from order.still_open import OpenEntry, OpenPosition, StillOpen
from order.switches import Level, SwitchView, TurnRequest
from shared.errors import ConfigurationError, LockHeld, TradingError
from shared.settings import Settings
from shared.store.schema import NoStore

_THERE = "Give the command there as well: on that machine, or with the TRADING_HOME that it has."


class NotEverywhere(TradingError):
    """A switch could not be turned in every group."""


class NobodyRuns(TradingError):
    """A switch stands, and what it takes off or closes is open: nobody is there who could do it."""


class NoBooks(TradingError):
    """There is nothing here that a switch could be turned for."""


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """Where a switch was turned, and what came of it there.

    Attributes:
        environment: What the books are marked with: `paper`, `sandbox`, `live`, `proof`.
        books: The state folder that keeps them, or the address of the database, without its password.
        group: On PostgreSQL; None on SQLite.
        running: Whether a running system took it; else it holds from the next start.
        taken_by: Which one, in words; empty where none runs.
        switches: Those that are on then.
        entries, positions: What the switch takes off and closes, and nobody does, because nobody runs.
        stranded: What a running system is to close and cannot, a line each: an account has no session.
    """

    environment: str
    books: str
    group: str | None
    running: bool
    taken_by: str
    switches: list[SwitchView]
    entries: list[OpenEntry] = []
    positions: list[OpenPosition] = []
    stranded: list[str] = []

    def __str__(self) -> str:
        on = "\n".join(map(str, self.switches)) or "Nothing is switched off: entries are taken."
        took = f"taken by {self.taken_by}" if self.running else (
            "no system runs on these books; it holds from the next start"
        )  # fmt: skip
        group = "" if self.group is None else f", group {self.group}"
        return f"{on}\n{self.environment} books in {self.books}{group}: {took}."


def turn(
    level: str, user_id: str, strategy_id: str, why: str, *, group: str | None, as_json: bool
) -> None:
    """Turn a switch and print where, who took it, and which are on then.

    Args:
        level: `HALT`, `KILL`, `FLATTEN`, or `OFF` to resume.
        user_id, strategy_id: Of whom and what; both empty: the house.
        why: A note; who turned it is kept as well.
        group: Only there; None: in every group that has users. On SQLite there is one.
        as_json: One object for each group; see `Turned`.

    Raises:
        NoBooks: There are none; nothing was turned.
        ConfigurationError: There is no such user or strategy, or a stronger switch stands there already.
        NotEverywhere: A group's books are kept elsewhere, which has to be told there.
        NobodyRuns: It stands; what it would take off or close is open, and nobody does it, or can.
    """
    settings = Settings.load()
    who = pwd.getpwuid(os.getuid()).pw_name
    asked = TurnRequest(Level(level), user_id, strategy_id, f"{why} ({who})" if why else f"by {who}")
    try:
        with closing(StillOpen(settings.home, settings.postgres_url)) as reader:
            environment = reader.environment
            groups = _groups(reader, settings, asked, group)
    except NoStore as error:
        raise NoBooks(
            f"No switch was turned: there are no books in {Place.of(settings).books}.",
            remedy="A system that runs on other books goes on as it was: set TRADING_HOME (or DATABASE_URL)"
            " as it has it, and give the command again.",
        ) from error
    turned: list[Turned] = []
    missed: list[str] = []
    remedy = ""
    refused: list[ConfigurationError] = []
    for name in groups:
        place = Place.of(settings, name)
        try:
            turned.append(asyncio.run(_turn(settings, place, environment, asked)))
        except LockHeld as error:
            missed.append(f"{name or 'the order side'}: {error.what}")
            remedy = _THERE if name else error.remedy
        except ConfigurationError as error:  # the other groups are told all the same
            refused.append(error)
            print(f"{environment} books in {place.books}{place.whose}: not turned.", file=sys.stderr)
    for each in turned:
        print(msgspec.json.encode(each).decode() if as_json else each)
    left = _left(turned)
    if missed:
        said = [f"Not turned everywhere: {' '.join(missed)}", *left]
        raise NotEverywhere("\n".join(said), remedy=remedy)
    if refused and not turned:
        raise refused[0]
    stranded = [f"  {line}" for each in turned for line in each.stranded]
    if stranded:
        raise NobodyRuns(
            "\n".join(["The switch stands, and nobody can sell now:", *stranded, *left]),
            remedy="It is sold once the account has a session: `trading accounts` tells what is wrong."
            " Until then only you can, in the broker's own application.",
        )
    if left:
        paper = all(each.environment == "paper" for each in turned)
        mode = "" if paper else "PAPER_TRADING=false and "
        by_hand = "" if paper else " Until then only you can, in the broker's own application."
        raise NobodyRuns(
            "\n".join(left),
            remedy=f"Start `trading run` as it ran, with {mode}TRADING_HOME={settings.home}: it does so when"
            f" prices come.{by_hand}",
        )


async def _turn(settings: Settings, place: Place, environment: str, asked: TurnRequest) -> Turned:
    async with keeper(settings, place.group) as manager:
        taken_by = place.keeper()
        switches = await manager.turn(asked)
        running = await manager.runs()
        closes = running and asked.level is Level.FLATTEN
        accounts = await manager.accounts() if closes else []
    turned = Turned(
        environment=environment,
        books=place.books,
        group=place.group,
        running=running,
        taken_by=taken_by if running else "",
        switches=switches,
        stranded=[
            f"{each.user_id} {line}"
            for each in accounts
            for line in each.stranded
            if asked.user_id in ("", each.user_id)
        ],
    )
    if running:
        return turned
    groups = () if place.group is None else (place.group,)
    with closing(StillOpen(settings.home, settings.postgres_url)) as reader:
        return msgspec.structs.replace(
            turned, entries=reader.entries(asked, groups), positions=reader.held(asked, groups)
        )


def _groups(reader: StillOpen, settings: Settings, asked: TurnRequest, group: str | None) -> list[str | None]:
    """Return the groups that a switch reaches; None stands for the only writer of SQLite."""
    if settings.postgres_url is None:
        return [None]
    if group is not None:
        return [group]
    users = [user for user in reader.users() if asked.user_id in ("", user.user_id)]
    return [*sorted({user.group for user in users})] or [None]


def _left(turned: Sequence[Turned]) -> list[str]:
    """Return, line by line, what a switch takes off or closes and nobody does; empty: there is nothing."""
    entries = [f"  {entry}" for each in turned for entry in each.entries]
    positions = [f"  {position}" for each in turned for position in each.positions]
    said = ["Nobody cancels now; at work:", *entries] if entries else []
    said += ["Nobody sells now; open:", *positions] if positions else []
    return ["The switch stands, and no system runs that would act on it.", *said] if said else []
