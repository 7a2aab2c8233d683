"""`trading orders review`: orders that wait for a human, and settling one by hand."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from contextlib import closing
from decimal import Decimal, InvalidOperation

import msgspec

from app.grid import Cell, Column, print_grid
from app.listing import STATE_STYLES, ist
from order.manager import OrderManager
from order.reading import Reader
from order.review import Case, How, Verdict
from shared.errors import ConfigurationError
from shared.settings import Settings

WORD = "settle"


def verdict(
    order_id: str, *, filled: int | None, price: str | None, absent: bool, cancelled: bool, seen: bool
) -> Verdict:
    """Return what the command line says of an order.

    Raises:
        ConfigurationError: It says nothing, or more than one thing.
    """
    said = [
        how
        for how, given in (
            (How.FILLED, filled is not None),
            (How.ABSENT, absent),
            (How.CANCELLED, cancelled),
            (How.SEEN, seen),
        )
        if given
    ]
    remedy = "Say one of --filled SHARES --price RUPEES, --absent, --cancelled, --seen."
    if len(said) != 1:
        raise ConfigurationError(f"{len(said)} things are said of order {order_id}.", remedy=remedy)
    if (said[0] is How.FILLED) is not (price is not None):
        raise ConfigurationError("--filled and --price go together.", remedy=remedy)
    try:
        rupees = Decimal(price or "0")
    except InvalidOperation:
        raise ConfigurationError(f"--price {price!r} is no number.", remedy="Say rupees: 2500.05.") from None
    who = pwd.getpwuid(os.getuid()).pw_name
    return Verdict(order_id=order_id, how=said[0], quantity=filled or 0, price=rupees, who=who)


def show(*, group: str | None = None, as_json: bool) -> None:
    """List the orders that wait, with the evidence."""
    settings = Settings.load()
    _print(asyncio.run(_cases(settings, group)), as_json)


def settle(said: Verdict, *, yes: bool, group: str | None = None, as_json: bool) -> None:
    """Settle an order by hand, after a look at the evidence.

    Raises:
        ConfigurationError: Nobody said yes, or what is said cannot be true of the order.
    """
    settings = Settings.load()
    if not yes:
        cases = asyncio.run(_cases(settings, group))
        _print([case for case in cases if case.order_id == said.order_id], as_json)
        _confirm(said)
    _print([asyncio.run(_settle(settings, said, group))], as_json)


async def _cases(settings: Settings, group: str | None) -> list[Case]:
    async with keeper(settings, group) as manager:
        return await manager.cases()


async def _settle(settings: Settings, said: Verdict, group: str | None) -> Case:
    async with keeper(settings, group) as manager:
        return await manager.settle(said)


def keeper(settings: Settings, group: str | None) -> OrderManager:
    """Return who asks the process that keeps the books, or keeps them for a moment where none does."""
    environment = environment_of(settings)
    # Without accounts no order leaves, whatever the settings of this shell say.
    settings = settings.model_copy(update={"paper_trading": environment == "paper"})
    manager = OrderManager(environment == "paper", environment=environment, settings=settings, group=group)
    manager.for_a_moment = True
    return manager


def environment_of(settings: Settings) -> str:
    """Return what the books are marked with.

    Raises:
        StoreError: There are none, or they cannot be read.
    """
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        return reader.environment


def _confirm(said: Verdict) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody is there to confirm.", remedy="Say --yes.")
    what = said.how.value if said.how is not How.FILLED else f"{said.quantity} filled at {said.price}"
    print(f"Type '{WORD}' to settle {said.order_id} as {what}: ", end="", flush=True)
    if sys.stdin.readline().strip() != WORD:
        raise ConfigurationError("Not confirmed; nothing has changed.")


def _print(cases: list[Case], as_json: bool) -> None:
    if as_json:
        for case in cases:
            print(msgspec.json.encode(case).decode())
        return
    if not cases:
        print("No order waits for a human.")
        return
    columns = [
        Column[Case]("order", lambda case: case.order_id),
        Column[Case]("user", lambda case: case.user_id),
        Column[Case]("strategy", lambda case: case.strategy_id, rank=3),
        Column[Case]("symbol", lambda case: case.symbol),
        Column[Case]("side", lambda case: case.side),
        Column[Case]("qty", lambda case: f"{case.quantity}", right=True),
        Column[Case]("filled", lambda case: f"{case.filled}", right=True),
        Column[Case]("state", lambda case: Cell(case.state, STATE_STYLES.get(case.state, "bold red"))),
        Column[Case]("sent, IST", lambda case: ist(case.sent_at) if case.sent_at else "–"),
        Column[Case]("reads", lambda case: f"{case.good_reads}", right=True, rank=2),
        Column[Case]("why", lambda case: case.why, least=20),
    ]
    print_grid("Orders that wait", columns, cases)
    for case in cases:
        held = "not read" if case.position is None else f"{case.position} {case.symbol} {case.product}"
        read = "not read" if case.read_at is None else f"read {ist(case.read_at)}"
        shown = "; ".join(case.shown) or "nothing under its tag"
        print(f"{case.order_id}: the broker's books ({read}) show {shown}; position {held}, ours {case.ours}")
