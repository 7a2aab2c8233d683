"""What a proof consists of: storms that must end clean, and one short scene for each mutant that must not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proof.stage import Options
from proof.storm import Plan
from shared.errors import ConfigurationError

SHORT, LONG = "short", "long"
SEEDS = {SHORT: 200, LONG: 20_000}
"""Simulations of the deciding core, one seed each."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One stage and what happens on it."""

    name: str
    options: Options
    plan: Plan


def storms(profile: str, seed: int) -> list[Scene]:
    """Return the scenes in which nothing may be found.

    Raises:
        ConfigurationError: There is no such profile.
    """
    if profile == SHORT:
        plan = Plan(kills=62, most_s=170.0, settle_s=100.0)
        return [Scene("storm", Options(users=3, seed=seed), plan)]
    if profile == LONG:
        symbols = ("RELIANCE", "TCS", "INFY", "SBIN", "ITC", "HDFCBANK")
        return [
            Scene(
                f"storm {number}",
                Options(users=50, symbols=symbols, speed=240.0, faulty=0.25, seed=seed + number),
                Plan(kills=110, most_s=600.0, wipe_share=0.2),
            )
            for number in range(10)
        ]
    raise ConfigurationError(f"No profile {profile!r}.", remedy=f"Known: {SHORT}, {LONG}.")


def mutants(seed: int) -> list[Scene]:
    """Return a scene for each mutant, made so that its protection is needed."""
    return [
        Scene(name, *_scene(name, seed, **more)) for name, more in _MUTANTS.items()
    ]


_ACCEPTED_LOST = ("accept_then_reset:0.4:placeOrder", "accept_then_5xx:0.3:placeOrder")
_LOST_AND_BLIND = ("accept_then_reset:0.8:placeOrder", "book_fails:0.6:getOrderBook")
_MUTANTS: Mapping[str, Mapping[str, object]] = {
    "unclaimed": {"points": ("lane.flight",), "kills": 12},
    "cursor_first": {"points": ("order.taking",), "kills": 5},
    "blind_retry": {"faults": _ACCEPTED_LOST, "kills": 0, "least_s": 6.0},
    "no_settle_wait": {"faults": ("accept_late:0.5:placeOrder",), "kills": 0, "least_s": 14.0},
    "plain_pubsub": {"points": ("subscriber.read", "order.taking"), "kills": 5},
    "unfenced": {"twin": True, "kills": 0, "least_s": 0.5},
    "blind_append": {"wipe_share": 1.0, "kills": 0, "least_s": 4.0},
    "exit_from_signal": {"size": 2000, "kills": 0, "least_s": 14.0},
    "accepted_is_filled": {"size": 2000, "kills": 0, "least_s": 8.0},
    "lost_is_rejected": {"faults": _LOST_AND_BLIND, "kills": 0, "least_s": 16.0},
}


def _scene(name: str, seed: int, **more: object) -> tuple[Options, Plan]:
    options = Options(
        mutant=name,
        seed=seed,
        faulty=0.0,
        faults=tuple(more.get("faults", ())),  # type: ignore[arg-type]  # typed where it is written
        size=int(str(more.get("size", 1))),
    )
    plan = Plan(
        kills=int(str(more["kills"])),
        most_s=40.0,
        least_s=float(str(more.get("least_s", 0.0))),
        wipe_share=float(str(more.get("wipe_share", 0.0))),
        pause_share=0.0,
        network_share=0.0,
        disk_share=0.0,
        clock_share=0.0,
        points=tuple(more.get("points", ())),  # type: ignore[arg-type]  # as above
        random_kills=False,
        settle_s=8.0,
        twin=bool(more.get("twin", False)),
    )
    return options, plan
