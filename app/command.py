"""What every command of `trading` shares: errors as one clear message with an exit code, and `--json`."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from shared.errors import EXIT_FAILED, ConfigurationError, StoreError, TradingError

if TYPE_CHECKING:
    from app.grid import Row
    from app.listing import Listing
    from order.ledger import Ledger
    from order.reading import Reader
    from shared.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line: exact decimals, UTC instants.")
]

Group = Annotated[
    str | None,
    typer.Option("--group", help="Whose process; for books on PostgreSQL. Default: `default`."),
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
        except OSError as error:
            path = f"{error.filename}: " if error.filename else ""
            typer.echo(f"trading: {path}{error.strerror or str(error) or type(error).__name__}.", err=True)
            typer.echo(
                "  → Check owner, permissions and room of the state folder; `trading doctor` looks.", err=True
            )
            raise typer.Exit(EXIT_FAILED) from None

    return inner

Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="Show at most so many, newest first.")
]
UserId = Annotated[str | None, typer.Option("--user", help="Only of this user.")]
Run = Annotated[str | None, typer.Option("--run", help="Only of this market: live, sandbox-… or replay-….")]


def settings() -> Settings:
    """Return the settings."""
    from shared.settings import Settings

    return Settings.load()


def open_reader(user: str | None = None) -> closing[Reader]:
    """Open the order store for reading; what is switched off, for one user or for any, is told first."""
    from order.reading import Reader

    chosen = settings()
    reader = Reader(chosen.home, chosen.postgres_url)
    _tell(reader, user)
    return closing(reader)


def open_ledger(user: str | None = None) -> closing[Ledger]:
    """Open the order store for reading, with what a ledger tells; as `open_reader`."""
    from order.ledger import Ledger

    chosen = settings()
    reader = Ledger(chosen.home, chosen.postgres_url)
    _tell(reader, user)
    return closing(reader)


def day_number(text: str) -> int:
    """Return a day that was written as 2021-04-12 as days since the epoch."""
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)) // timedelta(days=1)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no day.", remedy="Write it as 2021-04-12.") from None


def tell_switches(user: str | None = None) -> None:
    """Say on standard error what is switched off; nothing where there are no books yet."""
    with contextlib.suppress(StoreError), open_reader(user):
        pass


def _tell(reader: Reader, user: str | None) -> None:
    for line in reader.switched(user):
        typer.echo(f"trading: {line}", err=True)


def known_user(reader: Reader, user: str | None) -> None:
    """Tell a mistyped user from one without orders."""
    known = [each.user_id for each in reader.users()]
    if user is not None and user not in known:
        raise ConfigurationError(
            f"There is no user {user!r}.", remedy=f"Known: {', '.join(known) or 'none'}."
        )


def known_run(reader: Reader, run: str | None) -> None:
    """Tell a mistyped market from one without rows."""
    known = reader.markets()
    if run is not None and run not in known:
        raise ConfigurationError(
            f"There is no market {run!r} here.", remedy=f"Known: {', '.join(known) or 'none'}."
        )


def tell_elsewhere(reader: Reader, user: str | None, market: str | None) -> None:
    """Say what is open in other markets than the one that was shown."""
    open_in: dict[str, int] = {}
    for row in reader.positions(user_id=user):
        if row.quantity and row.market != market:
            open_in[row.market] = open_in.get(row.market, 0) + 1
    for other, count in open_in.items():
        typer.echo(f"{count} more open in another market: --run {other}")


def show_rows(rows: Iterable[Row], as_json: bool, listing: Listing[Row], title: str = "") -> None:
    """Print rows as a table, or one JSON object a line."""
    if not as_json:
        listing.show(rows, title)
        return
    import msgspec

    out = sys.stdout.buffer
    for row in rows:
        out.write(msgspec.json.encode(row) + b"\n")
    out.flush()
