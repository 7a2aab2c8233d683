"""`trading halt`, `kill`, `flatten` and `resume`: the switches of the house, of users and of strategies."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command import Group, Json, guarded, settings

Of = Annotated[str | None, typer.Option("--user", help="Of this user only. Default: of the whole house.")]
Which = Annotated[
    str | None, typer.Option("--strategy", help="Of this strategy only; `manual`: orders by hand.")
]
Why = Annotated[str, typer.Option("--why", help="A note that is kept with it.")]


@guarded
def halt(
    user: Of = None, strategy: Which = None, why: Why = "", group: Group = None, as_json: Json = False
) -> None:
    """Take no entries any more; exits, stops and the square-off go on. Holds until `trading resume`."""
    _turn("HALT", user, strategy, why, group, as_json)


@guarded
def kill(
    user: Of = None, strategy: Which = None, why: Why = "", group: Group = None, as_json: Json = False
) -> None:
    """Take no entries, and take those that are at work off; stops stay. Holds until `trading resume`."""
    _turn("KILL", user, strategy, why, group, as_json)


@guarded
def flatten(
    user: Of = None, strategy: Which = None, why: Why = "", group: Group = None, as_json: Json = False
) -> None:
    """Take no entries, take those at work off and close all positions. Holds until `trading resume`."""
    _turn("FLATTEN", user, strategy, why, group, as_json)


@guarded
def resume(
    user: Of = None, strategy: Which = None, why: Why = "", group: Group = None, as_json: Json = False
) -> None:
    """Take entries again where nothing else forbids them: resumes what was stopped for the same whom."""
    _turn("OFF", user, strategy, why, group, as_json)


SWITCHES = (halt, kill, flatten, resume)


def _turn(
    level: str, user: str | None, strategy: str | None, why: str, group: str | None, as_json: bool
) -> None:
    from order.latch import latch
    from order.switches import LATCH_FILE, Level
    from shared.errors import ConfigurationError, TradingError

    house = not (user or strategy)
    try:
        home = settings().home
    except ConfigurationError as error:
        meanwhile = "" if level == Level.OFF else (
            f" Entries of all are stopped without us by a file {LATCH_FILE} in the state folder: `touch"
            f" var/{LATCH_FILE}`, or where TRADING_HOME points."
        )  # fmt: skip
        raise ConfigurationError(
            f"No switch was turned. {error.what}", remedy=f"Mend it, and give the command again.{meanwhile}"
        ) from error
    file = home / LATCH_FILE
    if house and level != Level.OFF and home.is_dir():
        latch(home, Level(level))  # before anything that may be slow: what turns switches takes long to load
    from app import turning

    try:
        turning.turn(level, user or "", strategy or "", why, group=group, as_json=as_json)
    except (turning.NobodyRuns, ConfigurationError):
        raise
    except TradingError as error:
        if house and level == Level.OFF and isinstance(error, turning.NoBooks) and file.exists():
            latch(home, Level.OFF)
            typer.echo(f"trading: the file {file} was taken away.", err=True)
        elif file.exists():
            said = "it stops the entries of a system on that folder, until `trading resume`"
            typer.echo(f"trading: the file {file} lies there: {said}.", err=True)
        raise
