"""`trading protect`: stop, target and trailing distance of an open position, set by hand."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from app.command import Group, Json, guarded
from shared.errors import ConfigurationError
from shared.settings import Settings


@guarded
def protect(
    user: Annotated[str, typer.Option("--user", help="Whose position.")],
    symbol: Annotated[str, typer.Option("--symbol", help="In which share.")],
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="Whose book, where several hold the share.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", help="Rupees.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Rupees.")] = None,
    trail: Annotated[
        str | None, typer.Option("--trail", help="Distance of a trailing stop from the best price, percent.")
    ] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="Nothing protects it from now on.")] = False,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Protect an open position anew, in place of whatever protects it: also after an ex-date."""
    levels = {"strategy_id": strategy, "stop": stop, "target": target, "trail_percent": trail}
    given = {name: value for name, value in levels.items() if value is not None}
    if bool(given.keys() - {"strategy_id"}) is nothing:
        raise ConfigurationError(
            "Say what protects the position, or that nothing shall.",
            remedy="--stop, --target and --trail go together; --nothing stands alone.",
        )
    told = asyncio.run(_protect(Settings.load(), group, user, symbol, given))
    said = {"user_id": user, "symbol": symbol, "protection": told}
    typer.echo(json.dumps(said) if as_json else f"{user} {symbol}: {told}")


async def _protect(
    settings: Settings, group: str | None, user_id: str, symbol: str, given: dict[str, str]
) -> str:
    # Not at the top: the order side takes its time to load.
    from app.review import keeper

    async with keeper(settings, group) as manager:
        return await manager.protect(user_id, symbol, **given)
