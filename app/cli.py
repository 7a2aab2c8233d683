"""The command line `trading`: one door to everything, errors as one clear message with an exit code.

Heavy rooms are imported inside the commands, so that a listing answers at once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from shared.errors import EXIT_FAILED, ConfigurationError, TradingError

if TYPE_CHECKING:
    from app.grid import Row
    from app.listing import Listing
    from order.reading import Reader

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="trading",
    help="Strategies produce signals; every subscribed user gets their own order, exactly once. On paper.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line: exact decimals, UTC instants.")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="Show at most so many, newest first.")
]
UserId = Annotated[str | None, typer.Option("--user", help="Only of this user.")]
Run = Annotated[str | None, typer.Option("--run", help="Only of this market: sim or replay-….")]
ReplayFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--replay", metavar="PATH…", help="Recorded ticks or bars (csv, csv.gz); several paths may follow."
    ),
]
MorePaths = Annotated[
    list[Path] | None, typer.Argument(metavar="PATH…", help="More paths for --replay.", show_default=False)
]
Speed = Annotated[
    str | None,
    typer.Option(
        "--speed", metavar="N|max", help="Session seconds per second. Default: replay max, simulation 60."
    ),
]
UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop when the data is through and all signals are disposed of.")
]
Again = Annotated[
    bool, typer.Option("--again", help="Replay data that has been through before as a new run.")
]
ForSeconds = Annotated[
    float | None, typer.Option("--for", metavar="SECONDS", min=0.0, help="Stop after so many seconds.")
]


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """Turn our errors into one message on standard error and their exit code."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TradingError as error:
            typer.echo(f"trading: {error.what}", err=True)
            if error.remedy:
                typer.echo(f"  → {error.remedy}", err=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # Whoever read us has gone; the interpreter must not complain about it at its end, either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_FAILED) from None
        except OSError as error:
            path = f"{error.filename}: " if error.filename else ""
            typer.echo(f"trading: {path}{error.strerror or error}.", err=True)
            typer.echo(
                "  → Check owner, permissions and room of the state folder; `trading doctor` looks.", err=True
            )
            raise typer.Exit(EXIT_FAILED) from None

    return inner


@app.command()
@guarded
def run(
    paths: MorePaths = None,
    replay: ReplayFiles = None,
    speed: Speed = None,
    until_end: UntilEnd = False,
    for_s: ForSeconds = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Run the whole system: market data in, paper orders out.

    Engine, bus, subscriber and order manager in one process. Without --replay the simulated market trades.
    """
    from app.run import RunOptions, run_all

    run_all(RunOptions.parse(replay, paths, speed, until_end, for_s, again, as_json))


@app.command()
@guarded
def engine(
    paths: MorePaths = None,
    replay: ReplayFiles = None,
    speed: Speed = None,
    until_end: UntilEnd = False,
    for_s: ForSeconds = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Run the engine alone: market data in, signals on the bus."""
    from app.run import RunOptions, run_engine

    run_engine(RunOptions.parse(replay, paths, speed, until_end, for_s, again, as_json))


@app.command()
@guarded
def subscriber(
    group: Annotated[
        str | None, typer.Option("--group", help="Serve this user group only. Default: all.")
    ] = None,
    for_s: ForSeconds = None,
    as_json: Json = False,
) -> None:
    """Run the order side alone: signals in, orders and books out."""
    from app.run import run_subscriber

    run_subscriber(group, for_s, as_json)


@app.command()
@guarded
def signals(limit: Limit = 20, run: Run = None, as_json: Json = False) -> None:
    """List signals and how they ended for their users."""
    from app.listing import SIGNALS

    with _reader() as reader:
        _known_run(reader, run)
        _show(reader.signals(limit, run=run), as_json, SIGNALS)


@app.command()
@guarded
def orders(
    limit: Limit = 20,
    user: UserId = None,
    run: Run = None,
    all_intents: Annotated[
        bool, typer.Option("--all", help="Also show what ended without an order.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List orders; with --all every intent and its disposition."""
    from app.listing import ORDERS

    with _reader() as reader:
        _known_user(reader, user)
        _known_run(reader, run)
        _show(reader.orders(limit, user_id=user, run=run, all_intents=all_intents), as_json, ORDERS)


@app.command()
@guarded
def fills(limit: Limit = 20, user: UserId = None, run: Run = None, as_json: Json = False) -> None:
    """List fills with the quote that each one used."""
    from app.listing import FILLS

    with _reader() as reader:
        _known_user(reader, user)
        _known_run(reader, run)
        _show(reader.fills(limit, user_id=user, run=run), as_json, FILLS)


@app.command()
@guarded
def positions(
    user: UserId = None,
    run: Run = None,
    every: Annotated[bool, typer.Option("--all", help="Of all markets, not of the latest one only.")] = False,
    as_json: Json = False,
) -> None:
    """List positions, profit and charges of the latest market."""
    from app.listing import POSITIONS
    from app.marks import stored_marks

    with _reader() as reader:
        _known_user(reader, user)
        _known_run(reader, run)
        market = run or (None if every else reader.latest_market())
        marks = stored_marks(_home(), market)
        rows = reader.positions(user_id=user, run=market, marks=marks)
        _show(rows, as_json, POSITIONS, f"Positions, {market or 'all markets'}")


@app.command()
@guarded
def users(as_json: Json = False) -> None:
    """List users, their sizing and their limits."""
    from app.listing import USERS

    with _reader() as reader:
        _show(reader.users(), as_json, USERS)


@app.command()
@guarded
def strategies(as_json: Json = False) -> None:
    """List the configured strategies with their parameters."""
    from app.listing import STRATEGIES
    from app.strategies import StrategyView
    from shared.settings import Settings
    from strategy.config import load_configs

    views = [StrategyView.of(config) for config in load_configs(Settings.load().strategies_file)]
    _show(views, as_json, STRATEGIES)


@app.command()
@guarded
def verify(as_json: Json = False) -> None:
    """Prove the books, also of a running system.

    Nothing lost, doubled or unexplained: exit code 0; else 1.
    """
    from app.verify import verify_home

    found = verify_home(_home())
    if as_json:
        typer.echo(json.dumps({**found.as_dict()}))
    else:
        found.show()
    if not found.clean:
        raise typer.Exit(EXIT_FAILED)


@app.command()
@guarded
def doctor(as_json: Json = False) -> None:
    """Check the set-up and say how to mend it."""
    from app.doctor import examine, show

    findings = examine()
    show(findings, as_json)
    if any(not finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
@guarded
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Which measurements; all by default.")
    ] = None,
    as_json: Json = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds; for a look, not for the record.")
    ] = False,
    data: Annotated[Path, typer.Option("--data", help="Folder with recorded ticks.")] = Path(
        "../shared/market-data"
    ),
) -> None:
    """Measure the project's figures, each beside its floor."""
    from app.bench.command import run_bench

    run_bench(names or [], as_json=as_json, quick=quick, data=data)


def main() -> None:
    """Entry point of the console script."""
    # Nobody's plugin has a say in our settings, and the search for them costs 20 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    app()


def _home() -> Path:
    from shared.settings import Settings

    return Settings.load().home


def _reader() -> closing[Reader]:
    from order.reading import Reader

    return closing(Reader(_home()))


def _known_user(reader: Reader, user: str | None) -> None:
    """Tell a mistyped user from one without orders."""
    known = [each.user_id for each in reader.users()]
    if user is not None and user not in known:
        raise ConfigurationError(
            f"There is no user {user!r}.", remedy=f"Known: {', '.join(known) or 'none'}."
        )


def _known_run(reader: Reader, run: str | None) -> None:
    """Tell a mistyped market from one without rows."""
    known = reader.markets()
    if run is not None and run not in known:
        raise ConfigurationError(
            f"There is no market {run!r} here.", remedy=f"Known: {', '.join(known) or 'none'}."
        )


def _show(rows: Iterable[Row], as_json: bool, listing: Listing[Row], title: str = "") -> None:
    if not as_json:
        listing.show(rows, title)
        return
    import msgspec

    out = sys.stdout.buffer
    for row in rows:
        out.write(msgspec.json.encode(row) + b"\n")
    out.flush()
