"""`trading users`: who trades, with what, within which limits; add, change, export and import them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command import Group, Json, guarded, open_reader, show_rows
from app.credentials_command import credentials_app
from shared.errors import ConfigurationError

users_app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List users, their sizing and their limits; add and change them.",
)

users_app.add_typer(credentials_app, name="credentials")

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Their id: letters, digits, '_' and '-'.")]
StrategyArgument = Annotated[str, typer.Argument(metavar="STRATEGY", help="As in `trading strategies`.")]
Name = Annotated[str | None, typer.Option("--name", help="For people to read.")]
Family = Annotated[
    str | None,
    typer.Option("--family", help="Accounts of one family: their orders must not cross. '' for none."),
]
AlgoId = Annotated[
    str | None,
    typer.Option(
        "--algo-id",
        help="What the exchange has registered their orders under; '' for none. It is kept and shown; "
        "no order carries it: the broker's wire has no field for it.",
    ),
]
Broker = Annotated[str | None, typer.Option("--broker", help="`paper`, `shadow` or `angel_one`.")]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        help="In place of --broker: `paper` fills here, `shadow` tells what would be sent and sends nothing, "
        "`sandbox` goes to an account of theirs in a rehearsal, `live` to it at Angel One: real money.",
    ),
]
LimitValues = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="As `users limits` lists them; repeatable."),
]
Keep = Annotated[bool, typer.Option("--keep", help="What is held stays, with its exits and stops.")]
Flatten = Annotated[bool, typer.Option("--flatten", help="What is held is closed now.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@users_app.callback()
@guarded
def users(context: typer.Context, as_json: Json = False) -> None:
    """List users, their sizing and their limits."""
    if context.invoked_subcommand is not None:
        return
    from app.listing import USERS
    from order.users import shown_users

    with open_reader() as reader:
        show_rows(shown_users(reader.users(), reader.environment), as_json, USERS)


@users_app.command()
@guarded
def add(
    user: UserArgument,
    name: Name = None,
    family: Family = None,
    algo_id: AlgoId = None,
    broker: Broker = None,
    mode: Mode = None,
    limit: LimitValues = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Add a user, with cautious limits; they take part once they are subscribed to a strategy."""
    from app import users

    chosen = users.broker_of(broker, mode)
    who = user, name or "", family or "", algo_id or ""
    users.add(*who, chosen, limit or [], group=group, as_json=as_json, mode=mode)


@users_app.command()
@guarded
def show(user: UserArgument, as_json: Json = False) -> None:
    """Show one user with all limits and subscriptions."""
    from app import users

    users.show(user, as_json=as_json)


@users_app.command()
@guarded
def edit(
    user: UserArgument,
    name: Name = None,
    family: Family = None,
    algo_id: AlgoId = None,
    broker: Broker = None,
    mode: Mode = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Change a user's name, family or algo id, or where their orders go."""
    from app import users

    chosen = users.broker_of(broker, mode)
    given = {"name": name, "family": family, "algo_id": algo_id, "broker": chosen}
    wanted = {key: value for key, value in given.items() if value is not None}
    if not wanted:
        remedy = "Give --name, --family, --algo-id, --broker or --mode."
        raise ConfigurationError("Nothing is to be changed.", remedy=remedy)
    users.change(user, wanted, group=group, as_json=as_json)


@users_app.command()
@guarded
def enable(user: UserArgument, group: Group = None, as_json: Json = False) -> None:
    """Let a user enter positions again."""
    from app import users

    users.change(user, {"enabled": True}, group=group, as_json=as_json)


@users_app.command()
@guarded
def disable(
    user: UserArgument,
    keep: Keep = False,
    flatten: Flatten = False,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Let a user enter nothing more; with an open position say what becomes of it."""
    from app import users

    wanted = {"enabled": False, "holdings": _what_becomes(keep, flatten)}
    users.change(user, wanted, group=group, as_json=as_json)


@users_app.command()
@guarded
def limits(
    user: UserArgument,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE…", help="New limits; none: show them.")
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Show a user's limits, or set some."""
    from app import users

    if values:
        users.change(user, {"limits": users.pairs(values)}, group=group, as_json=as_json)
    else:
        users.show(user, as_json=as_json, only="limits")


@users_app.command()
@guarded
def subscribe(
    user: UserArgument,
    strategy: StrategyArgument,
    shares: Annotated[int | None, typer.Option("--shares", help="A fixed number of shares.")] = None,
    rupees: Annotated[str | None, typer.Option("--rupees", help="Shares for so much money.")] = None,
    percent: Annotated[
        str | None, typer.Option("--percent", help="Shares for so many percent of the allocation.")
    ] = None,
    risk: Annotated[
        str | None,
        typer.Option("--risk", help="So many percent of the allocation are lost from the price to the stop."),
    ] = None,
    times: Annotated[
        str | None, typer.Option("--times", help="So many times the shares that the signal names.")
    ] = None,
    product: Annotated[str | None, typer.Option("--product", help="INTRADAY or DELIVERY.")] = None,
    allocation: Annotated[
        str | None, typer.Option("--allocation", help="Percent of the capital; all together ≤ 100.")
    ] = None,
    trail: Annotated[
        str | None, typer.Option("--trail", help="Distance of a trailing stop, percent; 0 for none.")
    ] = None,
    short: Annotated[
        bool | None, typer.Option("--short/--long-only", help="SELL may open a short position.")
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Subscribe a user to a strategy, or change the terms; what is left out stays, or is one share."""
    from app import users

    sizings = {
        "fixed_quantity": shares,
        "fixed_value": rupees,
        "percent_of_allocation": percent,
        "risk_percent": risk,
        "signal_multiple": times,
    }
    sized = [[method, value] for method, value in sizings.items() if value is not None]
    if len(sized) > 1:
        remedy = "--shares, --rupees, --percent, --risk or --times."
        raise ConfigurationError("One sizing at a time.", remedy=remedy)
    given = {
        "sizing": sized[0] if sized else None,
        "product": product,
        "allocation_percent": allocation,
        "trail_percent": trail,
        "allow_short": short,
    }
    terms = {key: value for key, value in given.items() if value is not None}
    users.subscribe(user, strategy, terms, group=group, as_json=as_json)


@users_app.command()
@guarded
def unsubscribe(
    user: UserArgument,
    strategy: StrategyArgument,
    keep: Keep = False,
    flatten: Flatten = False,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Let a user leave a strategy; with an open position say what becomes of it."""
    from app import users

    left = {strategy: _what_becomes(keep, flatten)}
    users.change(user, {"leave": left}, group=group, as_json=as_json)


@users_app.command()
@guarded
def export(
    out: Annotated[Path | None, typer.Option("--out", help="File; default: standard output.")] = None,
) -> None:
    """Write all users, their limits and subscriptions as JSON; no secret is among them."""
    from app import users

    users.export(out)


@users_app.command("import")
@guarded
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `trading users export` writes it.")],
    yes: Yes = False,
    group: Group = None,
) -> None:
    """Show what a file would change, then change it; who is not in the file stays as they are."""
    from app import users

    users.import_file(file, yes=yes, group=group)


def _what_becomes(keep: bool, flatten: bool) -> str:
    """Return what becomes of what is held."""
    if keep and flatten:
        raise ConfigurationError("--keep or --flatten, not both.")
    return "keep" if keep else "flatten" if flatten else ""
