"""What a proof consists of: storms that must end clean, and one short scene for each mutant that must not."""

from __future__ import annotations

from dataclasses import dataclass

from proof.stage import Options
from proof.storm import Plan
from shared.errors import ConfigurationError

SHORT, LONG = "short", "long"
SEEDS = {SHORT: 200, LONG: 20_000}
"""Simulations of the deciding core, one seed each."""

GROUPS = ("a", "b", "c")
"""User groups on PostgreSQL, a subscriber each."""

WIDE = ("RELIANCE", "TCS", "INFY", "SBIN", "ITC", "HDFCBANK", "ICICIBANK", "LT")


@dataclass(frozen=True, slots=True)
class Scene:
    """One stage and what happens on it."""

    name: str
    options: Options
    plan: Plan


def storms(profile: str, seed: int, server: str = "") -> list[Scene]:
    """Return the scenes in which nothing may be found.

    Args:
        profile: `short` or `long`.
        seed: Of the first storm; the others follow.
        server: Address of a PostgreSQL server that keeps the books; empty: SQLite, one subscriber.

    Raises:
        ConfigurationError: There is no such profile.
    """
    groups = GROUPS if server else ()
    if profile == SHORT:
        options = Options(users=3, seed=seed, server=server, groups=groups)
        return [Scene("storm", options, Plan(kills=64, most_s=150.0))]
    if profile == LONG:
        return [
            Scene(
                f"storm {number}",
                Options(
                    users=9, symbols=WIDE, faulty=0.25, seed=seed + number, server=server, groups=groups
                ),
                Plan(kills=10_000, most_s=200.0, wipe_share=0.2),
            )
            for number in range(10)
        ]
    raise ConfigurationError(f"No profile {profile!r}.", remedy=f"Known: {SHORT}, {LONG}.")


def mutants(seed: int) -> list[Scene]:
    """Return a scene for each mutant, made so that its protection is needed."""
    lost_answers = ("accept_then_reset:0.4:placeOrder", "accept_then_5xx:0.3:placeOrder")
    lost_and_blind = ("accept_then_reset:0.8:placeOrder", "book_fails:0.6:getOrderBook")
    late = ("accept_late:0.5:placeOrder",)
    return [
        _without("unclaimed", seed, points=("lane.flight",), kills=12),
        _without("cursor_first", seed, points=("order.taking",), kills=5),
        _without("blind_retry", seed, faults=lost_answers, least_s=6.0),
        _without("no_settle_wait", seed, faults=late, least_s=14.0),
        _without("plain_pubsub", seed, points=("subscriber.read", "order.taking"), kills=5),
        _without("unfenced", seed, twin=True, least_s=0.5),
        _without("blind_append", seed, wipe_share=1.0, least_s=4.0),
        _without("exit_from_signal", seed, size=2000, least_s=14.0),
        _without("accepted_is_filled", seed, size=2000, least_s=8.0),
        _without("lost_is_rejected", seed, faults=lost_and_blind, least_s=16.0),
    ]


def _without(
    mutant: str,
    seed: int,
    *,
    faults: tuple[str, ...] = (),
    size: int = 1,
    points: tuple[str, ...] = (),
    kills: int = 0,
    least_s: float = 0.0,
    wipe_share: float = 0.0,
    twin: bool = False,
) -> Scene:
    """Return a scene in which *mutant* has its protection off and little else goes wrong."""
    plan = Plan(
        kills=kills,
        most_s=40.0,
        least_s=least_s,
        wipe_share=wipe_share,
        pause_share=0.0,
        network_share=0.0,
        disk_share=0.0,
        clock_share=0.0,
        points=points,
        random_kills=False,
        ready_s=12.0,
        settle_s=8.0,
        twin=twin,
    )
    options = Options(mutant=mutant, seed=seed, faulty=0.0, faults=faults, size=size)
    return Scene(mutant, options, plan)
