"""The proof as a whole: run the scenes, add up, say it in one line and as JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from proof import scenes
from proof.judge import Verdict
from proof.scenes import Scene
from proof.simulation import simulate_quietly
from proof.stage import StageFailed, stage
from proof.storm import Storm

AT_ONCE = 2
"""Seeds that are played side by side."""

MUTANT_TRIES = 3
MUTANTS_AT_ONCE = 4
"""Each is a few processes that mostly wait."""


@dataclass
class Report:
    """Totals of a proof.

    Attributes:
        kills: By component and crash point.
        troubles: Pauses, networks, full disks and clocks, by kind.
        mutants: Name → what gave it away; empty where nothing did.
        findings: Of the scenes that must be clean.
        seeds: Simulations of the deciding core; `seeds_wrong` says which did not end as promised.
    """

    seed: int
    profile: str
    kills: Counter[str] = field(default_factory=Counter)
    wipes: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    signals: int = 0
    intents: int = 0
    orders: int = 0
    users: int = 0
    broker_faults: int = 0
    lost: int = 0
    duplicate: int = 0
    unexplained: int = 0
    recoveries: list[float] = field(default_factory=list)
    mutants: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    seeds: int = 0
    seeds_wrong: list[str] = field(default_factory=list)

    @property
    def caught(self) -> int:
        """Return how many mutants were noticed."""
        return sum(bool(said) for said in self.mutants.values())

    @property
    def proven(self) -> bool:
        """Whether all is as promised and every mutant was caught."""
        wrong = self.findings or self.seeds_wrong
        clean = not (self.lost or self.duplicate or self.unexplained or wrong)
        return clean and self.caught == len(self.mutants)

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "profile": self.profile,
            "seed": self.seed,
            "kills": sum(self.kills.values()),
            "kills_by": dict(sorted(self.kills.items())),
            "wipes": self.wipes,
            "troubles": dict(sorted(self.troubles.items())),
            "signals": self.signals,
            "users": self.users,
            "intents": self.intents,
            "orders": self.orders,
            "broker_faults": self.broker_faults,
            "lost": self.lost,
            "duplicate": self.duplicate,
            "unexplained": self.unexplained,
            "recoveries": len(self.recoveries),
            "recovery_p50_s": round(_quantile(self.recoveries, 0.5), 2),
            "recovery_p99_s": round(_quantile(self.recoveries, 0.99), 2),
            "mutants": {"caught": self.caught, "total": len(self.mutants), "by": self.mutants},
            "seeds": {"run": self.seeds, "wrong": self.seeds_wrong},
            "seconds": round(self.seconds),
            "findings": self.findings,
        }

    def line(self) -> str:
        """Return all of it in one line."""
        return (
            f"{sum(self.kills.values())} kills at {len(self.kills)} places, {self.wipes} wipes, "
            f"{sum(self.troubles.values())} other troubles, "
            f"{self.signals} signals × {self.users} users = {self.intents} intents, {self.orders} orders, "
            f"{self.broker_faults} broker faults, {self.lost} lost, {self.duplicate} duplicate, "
            f"{self.unexplained} unexplained, recovery p99 {_quantile(self.recoveries, 0.99):.1f} s, "
            f"mutants caught {self.caught}/{len(self.mutants)}, "
            f"{self.seeds:,} simulations, {len(self.seeds_wrong)} wrong, seed {self.seed}"
        )


def prove(
    profile: str, seed: int, say: Callable[[str], None], *, server: str = "", keep: bool = False
) -> Report:
    """Run a whole proof.

    Args:
        profile: `short` or `long`.
        seed: Of everything that is drawn.
        say: Takes a line when a scene ends.
        server: Of PostgreSQL, for books in three groups and processes; empty: SQLite, one.
        keep: Leave the folders of the storms behind.
    """
    report = Report(seed, profile)
    began = time.monotonic()
    for scene in scenes.storms(profile, seed, server):
        known = len(report.recoveries)
        _storm(report, scene, keep)
        own = report.recoveries[known:]
        say(f"{scene.name}: {len(own)} recoveries, p99 {_quantile(own, 0.99):.1f} s; so far {report.line()}")
    _simulate(report, scenes.SEEDS[profile])
    say(f"{report.seeds:,} simulations, {len(report.seeds_wrong)} wrong")
    with ThreadPoolExecutor(MUTANTS_AT_ONCE) as pool:
        for scene, said in pool.map(_mutant, scenes.mutants(seed)):
            report.mutants[scene.name] = said
            say(f"mutant {scene.name}: {said or 'NOT CAUGHT'}")
    report.seconds = time.monotonic() - began
    return report


def _storm(report: Report, scene: Scene, keep: bool) -> None:
    with stage(scene.options, keep) as set_up:
        made = Storm(set_up, scene.plan, scene.options.seed)
        found = made.run()
    report.kills += set_up.kills
    report.wipes += set_up.wipes
    report.troubles += set_up.troubles
    report.broker_faults += set_up.faults
    report.recoveries += made.operator.recoveries
    report.users = scene.options.users
    _add(report, found)


def _simulate(report: Report, count: int) -> None:
    first = report.seed * 1_000_000
    with ProcessPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(simulate_quietly, range(first, first + count), chunksize=10):
            report.seeds += 1
            if outcome.wrong:
                report.seeds_wrong.append(f"seed {outcome.seed}: {outcome.wrong[0]}")


def _mutant(scene: Scene) -> tuple[Scene, str]:
    """Return what gave a mutant away, in one of a few tries: what it needs may not come in the first."""
    for seed in range(scene.options.seed, scene.options.seed + MUTANT_TRIES):
        again = replace(scene, options=replace(scene.options, seed=seed))
        _, said = _try(again)
        if said:
            return scene, said
    return scene, ""


def _try(scene: Scene) -> tuple[Scene, str]:
    """Return what gave a mutant away; also what never comes to rest is noticed."""
    try:
        with stage(scene.options) as set_up:
            found = Storm(set_up, scene.plan, scene.options.seed).run()
    except StageFailed as error:
        return scene, error.what
    return scene, "" if found.clean else next(iter(_reasons(found)))


def _reasons(found: Verdict) -> Iterator[str]:
    yield from found.findings
    for name in ("lost", "duplicate", "unexplained", "pending"):
        if getattr(found, name):
            yield f"{getattr(found, name)} {name}"


def _add(report: Report, found: Verdict) -> None:
    report.signals += found.signals
    report.intents += found.intents
    report.orders += found.orders
    report.lost += found.lost
    report.duplicate += found.duplicate
    report.unexplained += found.unexplained
    report.findings += found.findings
    if found.pending:
        report.findings.append(f"{found.pending} signals are pending")


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0.0
