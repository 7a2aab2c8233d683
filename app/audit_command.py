"""`trading audit`: what is kept for an audit, as one file, and the proof of such a file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from app.command import Json, UserId, day_number, guarded, settings
from app.journal_command import FromDay, ToDay, starts_us
from shared.errors import EXIT_FAILED, ConfigurationError

audit_app = typer.Typer(
    help="The audit trail as one file, with its proof.", no_args_is_help=True, rich_markup_mode=None
)


@audit_app.callback()
def audit() -> None:
    """Keep the trail elsewhere: five years, by the rules for retail algorithms."""


@audit_app.command("export")
@guarded
def audit_export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="Write there.")],
    from_day: FromDay = None,
    to_day: ToDay = None,
    user: UserId = None,
    as_json: Json = False,
) -> None:
    """Write signals, orders with each step, requests, fills, switches, users and the journal as one zip.

    Also of a running system; no secret is in it. Tables are CSV, instants UTC and IST. With --user it holds
    that user's rows and not the journal, which is everybody's.
    """
    import msgspec

    from app.audit_file import Asked, write
    from app.strategies import StrategyView
    from app.verify import open_stores
    from shared.clock import SystemClock
    from strategy.config import load_configs

    asked = Asked(
        from_day=from_day or "",
        to_day=to_day or "",
        from_us=None if from_day is None else starts_us(day_number(from_day)),
        to_us=None if to_day is None else starts_us(day_number(to_day) + 1) - 1,
        user=user or "",
        made_us=SystemClock().now_us(),
    )
    chosen = settings()
    with ExitStack() as stack:
        orders, engine = open_stores(chosen.home, chosen.postgres_url, stack)
        if user is not None and orders.row("SELECT 1 FROM users WHERE user_id = ?", (user,)) is None:
            raise ConfigurationError(f"There is no user {user!r}.", remedy="`trading users` lists all.")
        strategies = [
            msgspec.to_builtins(StrategyView.of(config)) for config in load_configs(chosen.strategies_file)
        ]
        manifest, digest = write(out, orders, engine, strategies, asked)
    if as_json:
        shown = {"file": str(out), "manifest_sha256": digest, "manifest": manifest}
        typer.echo(msgspec.json.encode(shown).decode())
        return
    rows = ", ".join(
        f"{name.partition('.')[0]} {file.rows}" for name, file in manifest.files.items() if file.rows
    )
    typer.echo(f"{manifest.entries} journal entries in {out}: {rows}")
    typer.echo(f"SHA-256 of its manifest: {digest}; keep it elsewhere than the file.")
    typer.echo(f"`trading audit check {out} --manifest {digest}` proves it without the system.")


@audit_app.command("check")
@guarded
def audit_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `trading audit export` wrote it.")],
    digest: Annotated[
        str, typer.Option("--manifest", metavar="SHA256", help="Of its manifest, as the export said.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Prove an extract without the system: exit code 1 where anything in it was changed.

    Hashes, the journal's chains, and every table made of the journal again. Who makes all of it anew is found
    by --manifest alone. Of an extract of another version, what this one does not know is told.
    """
    import msgspec

    from app.audit_check import check

    if not file.is_file():
        raise ConfigurationError(
            f"There is no file {file}.", remedy="`trading audit export --out FILE` writes one."
        )
    found = check(file, digest)
    if as_json:
        shown = {
            "manifest_sha256": found.digest, "manifest": found.manifest, "unexplained": found.count,
            "findings": found.findings, "notes": found.notes,
        }  # fmt: skip
        typer.echo(msgspec.json.encode(shown).decode())
    else:
        for name, each in found.manifest.files.items() if found.manifest is not None else ():
            typer.echo(f"{name:<24} {each.rows:>10}")
        for line in found.findings:
            typer.echo(line)
        if found.manifest is not None and not found.count:
            typer.echo(found.manifest.proof)
            for line in found.notes:
                typer.echo(f"Extract version {found.manifest.version}: {line}.")
        typer.echo("The file is as it was written." if not found.count else f"{found.count} findings.")
    if found.count:
        raise typer.Exit(EXIT_FAILED)
