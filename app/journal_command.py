"""`trading journal …` and `trading replay-day` on the command line."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Annotated

import typer

from app.command import Json, day_number, guarded
from shared.clock import DAY_US, IST_OFFSET_US
from shared.errors import EXIT_FAILED, ConfigurationError

journal_app = typer.Typer(
    help="What was decided, in order, as it was written down.", no_args_is_help=True, rich_markup_mode=None
)

FromDay = Annotated[
    str | None,
    typer.Option("--from", metavar="YYYY-MM-DD", help="First day, India. Default: from the start."),
]
ToDay = Annotated[
    str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day, India. Default: to the end.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write there; .gz is compressed. Default: screen."),
]


@journal_app.callback()
def journal() -> None:
    """Take the journal elsewhere."""


@journal_app.command("export")
@guarded
def journal_export(
    from_day: FromDay = None, to_day: ToDay = None, out: Out = None, as_json: Json = False
) -> None:
    """Write the whole journal as JSON lines, with its digests; also of a running system.

    Order store and outbox. `trading verify --journal FILE` proves the file without the system. The lines are
    JSON in any case; --json is for scripts that always say it.
    """
    from app.journal_file import export
    from app.verify import open_stores
    from shared.settings import Settings

    from_us = None if from_day is None else starts_us(day_number(from_day))
    to_us = None if to_day is None else starts_us(day_number(to_day) + 1) - 1
    with ExitStack() as stack:
        settings = Settings.load()
        orders, engine = open_stores(settings.home, settings.postgres_url, stack)
        lines = export(orders, engine, from_us, to_us)
        if out is None:
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
            return
        count = 0
        out.touch(mode=0o600)
        with _opened(out, "wb") as file:
            for line in lines:
                file.write(line)
                count += 1
    if as_json:
        typer.echo(json.dumps({"file": str(out), "entries": count - 2}))
    else:
        typer.echo(f"{count - 2} entries in {out}; `trading verify --journal {out}` proves them.")


def verify_file(path: Path, *, as_json: bool) -> bool:
    """Prove an exported file and print what it holds; return whether all of it is as it was written."""
    from app.journal_file import prove

    if not path.is_file():
        raise ConfigurationError(
            f"There is no file {path}.", remedy="`trading journal export --out FILE` writes one."
        )
    with _opened(path, "rb") as file:
        proof = prove(file)
    if as_json:
        found = {"entries": proof.entries, "unexplained": proof.count, "findings": proof.findings}
        typer.echo(json.dumps(found))
        return not proof.count
    for chain, entries in proof.entries.items():
        typer.echo(f"{chain:<14} {entries:>8}")
    for line in proof.findings:
        typer.echo(line)
    typer.echo("The file is as it was written." if not proof.count else f"{proof.count} findings.")
    return not proof.count


@guarded
def replay_day(
    day: Annotated[str, typer.Argument(metavar="YYYY-MM-DD", help="India; a replay's days are the data's.")],
    as_json: Json = False,
) -> None:
    """Decide a day anew out of its journal.

    The same inputs go into a fresh core in memory; its decisions are held against those that were written,
    entry by entry. Exit code 1 where one differs.
    """
    import msgspec

    from app.logs import without_news
    from broker.registry import store_venue
    from order.mirror import as_sqlite
    from order.rerun import rerun_day
    from order.stores import open_for_reading
    from shared.calendar import Calendar
    from shared.instruments import Instruments
    from shared.settings import Settings

    number, settings = day_number(day), Settings.load()
    with (
        without_news(),  # of a day that is over
        closing(open_for_reading(settings.home, settings.postgres_url)) as kept,
        as_sqlite(kept) as orders,
        tempfile.TemporaryDirectory(prefix="trading-day-") as folder,
    ):
        found = rerun_day(
            orders,
            number,
            day,
            Path(folder),
            instruments=Instruments.load(),
            calendar=Calendar.load(home=Settings.load().home),
            make_venue=store_venue,
        )
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        for name, value in msgspec.to_builtins(found).items():
            if name != "first":
                typer.echo(f"{name.replace('_', ' '):<12} {value:>10}")
        typer.echo(found.first or "Every decision came out as it was written.")
    if found.differences:
        raise typer.Exit(EXIT_FAILED)


def _opened(path: Path, mode: str) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, mode)  # type: ignore[return-value]
    return path.open(mode)


def starts_us(day: int) -> int:
    """Return the first instant of a day in India, given as days since the epoch."""
    return day * DAY_US - IST_OFFSET_US
