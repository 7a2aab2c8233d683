"""The users of a proof: stored before anything runs, each with an account at the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from order.manager import OrderManager
from order.users import Limits, Sizing, SizingMethod, Terms
from shared.settings import Settings

BROKER = "angel_one"
STRATEGY = "brisk"
QUANTITIES = (10, 7, 25, 40, 3)
"""Shares that users buy, one after another: different, so that orders partly fill."""

LIMITS = Limits(
    capital_inr=Decimal(100_000_000_000),
    max_order_inr=Decimal(1_000_000_000),
    max_positions=20,
    max_entries_day=100_000,
    max_entries_symbol_day=100_000,
    max_orders_second=9,
    max_orders_minute=500,
    day_loss_percent=Decimal(100),
    strategy_loss_percent=Decimal(100),
)


async def store_users(
    home: Path, count: int, size: int = 1, database: str = "", groups: Sequence[str] = ()
) -> None:
    """Store *count* users in a new order store.

    Args:
        home: State folder.
        count: Of users; they are dealt out to the groups in turn.
        size: Multiplies what they buy.
        database: Of PostgreSQL; empty: the store lies in *home*.
        groups: User groups, each kept by its own order manager; none on SQLite.
    """
    more = {"database_url": database} if database else {}
    settings = Settings.load(None, home=str(home), paper_trading="false", proof="true", **more)
    for turn, group in enumerate(groups or (None,)):
        manager = OrderManager(
            paper_trading=False,
            environment="proof",
            settings=settings,
            demo_strategies=(STRATEGY,),
            group=group,
        )
        await manager.initialize()
        try:
            for number in range(1 + turn, count + 1, max(len(groups), 1)):
                quantity = Decimal(QUANTITIES[number % len(QUANTITIES)] * size)
                terms = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, quantity))
                await manager.add_user(
                    f"user_{number:03d}",
                    limits=LIMITS,
                    subscriptions={STRATEGY: terms},
                    broker=BROKER,
                    replace=True,
                )
        finally:
            await manager.close()
