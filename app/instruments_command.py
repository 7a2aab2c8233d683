"""`trading instruments …` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command import Json, guarded

instruments_app = typer.Typer(
    help="The broker's daily list of instruments.", no_args_is_help=True, rich_markup_mode=None
)


@instruments_app.command("refresh")
@guarded
def instruments_refresh(
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="File or URL. Default: Angel One's own.")
    ] = "",
    table: Annotated[
        Path | None, typer.Option("--table", help="Table to renew. Default: data/symbol_token_map.json.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take the list in spite of alarms.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch the list (about 40 MB), tell what changed, renew data/symbol_token_map.json."""
    from app import instruments

    instruments.refresh(source, table, accept=accept, as_json=as_json)


@instruments_app.command("find")
@guarded
def instruments_find(
    text: Annotated[str, typer.Argument(help="Part of a name.")], as_json: Json = False
) -> None:
    """List the instruments whose name holds TEXT."""
    from app import instruments

    instruments.find(text, as_json=as_json)


@instruments_app.command("show")
@guarded
def instruments_show(
    symbol: Annotated[str, typer.Argument(help="As traded.")], as_json: Json = False
) -> None:
    """Show all that is known of one instrument."""
    from app import instruments

    instruments.show(symbol, as_json=as_json)
