"""The command line `trading`: one door to everything, errors as one clear message with an exit code.

Heavy rooms are imported inside the commands, so that a listing answers at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from app.audit_command import audit_app
from app.command import (
    Group,
    Json,
    Limit,
    Run,
    UserId,
    guarded,
    known_run,
    known_user,
    open_ledger,
    open_reader,
    settings,
    show_rows,
    tell_elsewhere,
    tell_switches,
)
from app.instruments_command import instruments_app
from app.journal_command import journal_app, replay_day, verify_file
from app.menu import WIDTH, Menu
from app.orders_command import orders_app
from app.output import outlive_reader
from app.protect_command import protect
from app.statement_command import lots, statement
from app.switch_command import SWITCHES
from app.users_command import users_app
from shared.errors import EXIT_FAILED

app = typer.Typer(
    name="trading",
    cls=Menu,
    context_settings={"max_content_width": WIDTH},
    help="Strategies produce signals; every subscribed user gets their own order, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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
        "--speed", metavar="N|max", help="Market seconds per second. Default: replay max, own sandbox 180."
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
    """Run the whole system: market data in, orders out.

    Engine, bus, subscriber and order manager in one process. Without --replay and credentials it trades on
    a sandbox of its own.
    """
    from app.run import RunOptions, run_all

    run_all(RunOptions.parse(replay, paths, speed, until_end, for_s, again, as_json))


app.command()(protect)
app.command()(statement)
app.command()(lots)
app.add_typer(instruments_app, name="instruments")
app.add_typer(journal_app, name="journal")
app.add_typer(audit_app, name="audit")
app.command("replay-day")(replay_day)
app.add_typer(orders_app, name="orders")
app.add_typer(users_app, name="users")
for turn in SWITCHES:
    app.command()(turn)


@app.command()
@guarded
def arm(
    user: Annotated[
        list[str] | None, typer.Option("--user", help="Only this user's account; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; in rehearsals only.")] = False,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Look at connected accounts and let those take entries that no check keeps from it.

    Arming lasts for the day, until midnight in India or the running system's end. Exits need no arming.
    """
    from app import arming

    arming.arm(user or (), yes=yes, group=group, as_json=as_json)


@app.command()
@guarded
def accounts(group: Group = None, as_json: Json = False) -> None:
    """Show the connected accounts: ARMED, EXIT_ONLY or OFF, and what the broker has that is not ours."""
    from app import arming

    tell_switches()
    arming.accounts(group=group, as_json=as_json)


@app.command()
@guarded
def disarm(
    user: Annotated[
        list[str] | None, typer.Option("--user", help="Only this user's account; repeatable.")
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Close accounts for entries; exits go on."""
    from app import arming

    arming.disarm(user or (), group=group, as_json=as_json)


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
        str | None,
        typer.Option("--group", help="Serve this user group only. Default: all; on PostgreSQL, `default`."),
    ] = None,
    for_s: ForSeconds = None,
    as_json: Json = False,
) -> None:
    """Run the order side alone: signals in, orders and books out."""
    from app.run import run_subscriber

    run_subscriber(group, for_s, as_json)


@app.command()
@guarded
def sandbox(
    paths: MorePaths = None,
    replay: ReplayFiles = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = 8000,
    accounts: Annotated[int, typer.Option("--accounts", help="How many clients may log in.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of market and credentials.")] = 7,
    speed: Annotated[float, typer.Option("--speed", help="Market seconds per second.")] = 1.0,
    start_day: Annotated[
        str | None, typer.Option("--start-day", metavar="YYYY-MM-DD", help="First day. Default: today.")
    ] = None,
    wall: Annotated[
        bool, typer.Option("--wall-hours", help="Keep the exchange's hours instead of never closing.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option("--state", help="File that keeps orders and clock over a restart.")
    ] = None,
    cash: Annotated[int, typer.Option("--cash", min=0, help="Rupees in each account.")] = 1_000_000,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", metavar="FAULT",
            help="KIND:P[:ENDPOINT[:SEED]][:client=CODE,delay=SECONDS,times=N]; repeatable.",
        ),
    ] = None,
    faulty: Annotated[
        float, typer.Option("--faulty", metavar="P", help="Share of order calls and books that go wrong.")
    ] = 0.0,
    switch: Annotated[
        list[str] | None,
        typer.Option("--switch", metavar="NAME=VALUE", help="As GET /sandbox/switches lists; repeatable."),
    ] = None,
    holding: Annotated[
        list[str] | None,
        typer.Option("--holding", metavar="SYMBOL:SHARES", help="Held in each account; repeatable."),
    ] = None,
    days: Annotated[
        bool | None, typer.Option("--days/--one-day", help="Books by market day. Default: up to speed 1.")
    ] = None,
    flood: Annotated[
        int, typer.Option("--flood", min=0, help="Feed frames per second, for load tests.")
    ] = 0,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="End when standard input ends.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve a SmartAPI on loopback to rehearse on: HTTP, feeds, an exchange, faults on demand."""
    from app.sandbox import SandboxOptions, run_sandbox

    run_sandbox(
        SandboxOptions(
            port, accounts, seed, speed, start_day, wall, state, cash, fault or [], faulty, switch or [],
            flood, replay or [], paths or [], holding or [], days, stop_with_parent, as_json,
        )
    )  # fmt: skip


@app.command()
@guarded
def signals(limit: Limit = 20, run: Run = None, as_json: Json = False) -> None:
    """List signals and how they ended for their users."""
    from app.listing import SIGNALS

    with open_reader() as reader:
        known_run(reader, run)
        show_rows(reader.signals(limit, run=run), as_json, SIGNALS)


@app.command()
@guarded
def fills(limit: Limit = 20, user: UserId = None, run: Run = None, as_json: Json = False) -> None:
    """List fills with the quote that each one used."""
    from app.listing import FILLS

    with open_reader(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        show_rows(reader.fills(limit, user_id=user, run=run), as_json, FILLS)


@app.command()
@guarded
def positions(
    user: UserId = None,
    run: Run = None,
    every: Annotated[bool, typer.Option("--all", help="Of all markets, not of the latest one only.")] = False,
    net: Annotated[
        bool, typer.Option("--net", help="All strategies and orders by hand as one, as a broker sees it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List positions, profit and charges of the latest market."""
    from app.ledger_listing import NET
    from app.listing import POSITIONS
    from app.marks import stored_marks

    with open_ledger(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        market = run or (None if every else reader.latest_market())
        marks = stored_marks(settings().home, market)
        if net:
            nets = reader.net_positions(user_id=user, run=market, marks=marks)
            show_rows(nets, as_json, NET, f"Net positions, {market or 'all markets'}")
            return
        rows = reader.positions(user_id=user, run=market, marks=marks)
        show_rows(rows, as_json, POSITIONS, f"Positions, {market or 'all markets'}")
        if not (run or every or as_json):
            tell_elsewhere(reader, user, market)


@app.command()
@guarded
def profit(user: UserId = None, run: Run = None, as_json: Json = False) -> None:
    """List what each user has won or lost in the latest market, after charges."""
    from app.ledger_listing import PROFITS
    from app.marks import stored_marks

    with open_ledger(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        market = run or reader.latest_market()
        rows = reader.profits(user_id=user, run=market, marks=stored_marks(settings().home, market))
        show_rows(rows, as_json, PROFITS, f"Profit in rupees, {market}")
        if not (run or as_json):
            tell_elsewhere(reader, user, market)


@app.command()
@guarded
def holdings(user: UserId = None, run: Run = None, as_json: Json = False) -> None:
    """List DELIVERY shares by how far they have come: bought today, T1, free, authorised, pledged."""
    from app.ledger_listing import HOLDINGS
    from shared.clock import SystemClock

    with open_ledger(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        market = run or reader.latest_market()
        show_rows(reader.holdings(SystemClock().now_us(), user_id=user, run=market), as_json, HOLDINGS)


@app.command()
@guarded
def charges(limit: Limit = 20, user: UserId = None, run: Run = None, as_json: Json = False) -> None:
    """List what days that are over cost, scrip by scrip, as a contract note has it."""
    from app.ledger_listing import CHARGES

    with open_ledger(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        show_rows(reader.day_charges(limit, user_id=user, run=run), as_json, CHARGES)


@app.command()
@guarded
def strategies(as_json: Json = False) -> None:
    """List the configured strategies with their parameters."""
    from app.listing import STRATEGIES
    from app.strategies import StrategyView
    from shared.settings import Settings
    from strategy.config import load_configs

    tell_switches()
    views = [StrategyView.of(config) for config in load_configs(Settings.load().strategies_file)]
    show_rows(views, as_json, STRATEGIES)


@app.command()
@guarded
def verify(
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="FILE", help="Prove an exported journal instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove the books, also of a running system.

    Nothing lost, doubled or unexplained, no row changed behind our back: exit code 0; else 1.
    """
    if journal is not None:
        if not verify_file(journal, as_json=as_json):
            raise typer.Exit(EXIT_FAILED)
        return
    from app.verify import verify_home

    chosen = settings()
    found = verify_home(chosen.home, chosen.postgres_url)
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
    from app.logs import without_news

    with without_news():
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


@app.command()
@guarded
def prove(
    profile: Annotated[str, typer.Option("--profile", help="short (some 5 minutes) or long.")] = "short",
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 7,
    server: Annotated[
        str,
        typer.Option("--server", help="PostgreSQL server for the books: three groups in three processes."),
    ] = "",
    as_json: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the state folders for a look.")] = False,
) -> None:
    """Prove the promise: kill, wipe and break everything, then count; development only.

    Works on an installation of its own, marked as a proof, with a sandbox on loopback.
    """
    from app.prove import run_proof

    run_proof(profile, seed, server=server, as_json=as_json, keep=keep)


def main() -> None:
    """Entry point of the console script."""
    # Nobody's plugin has a say in our settings, and the search for them costs 20 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    outlive_reader()
    app()
