"""`trading orders`: the listing, `review`, and changes of direct orders: `cancel`, `modify`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command import (
    Group,
    Json,
    Limit,
    Run,
    UserId,
    guarded,
    known_run,
    known_user,
    open_reader,
    show_rows,
)

orders_app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List orders; with --user also what was refused, and what to do about it; --all: every intent.",
)


@orders_app.callback()
@guarded
def orders(
    context: typer.Context,
    limit: Limit = 20,
    user: UserId = None,
    run: Run = None,
    all_intents: Annotated[
        bool, typer.Option("--all", help="Also show what ended without an order.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List orders; with --user also what was refused, and what to do about it; --all: every intent."""
    if context.invoked_subcommand is not None:
        return
    from app.listing import ORDERS
    from app.refusals import explained, tell

    with open_reader(user) as reader:
        known_user(reader, user)
        known_run(reader, run)
        found = explained(
            reader.orders(limit, user_id=user, run=run, refused=user is not None, all_intents=all_intents)
        )
        show_rows(found, as_json, ORDERS)
        if not as_json:
            tell(found)


@orders_app.command()
@guarded
def cancel(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Its id, as `trading orders` shows it.")],
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Cancel a direct order."""
    from app import change

    change.change(order, {}, cancel=True, group=group, as_json=as_json)


@orders_app.command()
@guarded
def modify(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Its id, as `trading orders` shows it.")],
    price: Annotated[str | None, typer.Option("--price", help="New limit, rupees.")] = None,
    trigger_price: Annotated[
        str | None, typer.Option("--trigger-price", help="New trigger of an SL_LIMIT order, rupees.")
    ] = None,
    quantity: Annotated[
        int | None, typer.Option("--quantity", min=1, help="New total of shares; smaller, not larger.")
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Change a direct LIMIT or SL_LIMIT order that rests."""
    from app import change

    wanted = {"price": price, "trigger_price": trigger_price, "quantity": quantity}
    change.change(order, wanted, cancel=False, group=group, as_json=as_json)


@orders_app.command()
@guarded
def review(
    order: Annotated[str | None, typer.Argument(metavar="ORDER", help="The order to settle by hand.")] = None,
    filled: Annotated[
        int | None, typer.Option("--filled", min=1, help="So many more shares of it were filled.")
    ] = None,
    price: Annotated[str | None, typer.Option("--price", help="At so many rupees a share.")] = None,
    absent: Annotated[bool, typer.Option("--absent", help="The broker never had it.")] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="No more of it was filled.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Two orders under its tag: looked into.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """List orders that wait for a human, with the evidence; with ORDER, settle one by hand."""
    from app import review as reviewing

    if order is None:
        reviewing.show(group=group, as_json=as_json)
        return
    said = reviewing.verdict(
        order, filled=filled, price=price, absent=absent, cancelled=cancelled, seen=seen
    )
    reviewing.settle(said, yes=yes, group=group, as_json=as_json)
