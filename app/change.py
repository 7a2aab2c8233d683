"""`trading orders cancel` and `modify`: changes of direct orders, by whoever keeps the books."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from app.review import keeper
from order.manager import OrderManager
from shared.errors import ConfigurationError
from shared.models import OrderResult
from shared.settings import Settings


def change(
    order_id: str, wanted: Mapping[str, object], *, cancel: bool, group: str | None, as_json: bool
) -> None:
    """Cancel or modify a direct order and print how it stands.

    Raises:
        ConfigurationError: There is no such open order, or it cannot be changed like that.
        RefusedBySafety: A rule forbids what it would become.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    result = asyncio.run(_change(Settings.load(), group, order_id, given, cancel))
    if as_json:
        print(msgspec.json.encode(result).decode())
    else:
        print(f"{result.order_id}: {result.message}")


async def _change(
    settings: Settings, group: str | None, order_id: str, given: Mapping[str, object], cancel: bool
) -> OrderResult:
    async with keeper(settings, group) as manager:
        if manager.holds_lock and not manager.paper:
            raise ConfigurationError(
                f"Nobody is connected to the broker of order {order_id}.",
                remedy="Start `trading run`: it takes the change to the broker.",
            )
        return await _asked(manager, order_id, given, cancel)


async def _asked(
    manager: OrderManager, order_id: str, given: Mapping[str, object], cancel: bool
) -> OrderResult:
    return await (manager.cancel_order(order_id) if cancel else manager.modify_order(order_id, **given))
