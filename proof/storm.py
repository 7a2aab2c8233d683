"""One scene: kills, crash points, wipes and faulty calls for a while, then calm, then the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from order.reading import Reader
from proof import clock
from proof.cast import store_users
from proof.judge import Verdict, judge
from proof.network import Weather
from proof.operator import Operator, ask
from proof.stage import (
    ENGINE,
    EVERYTHING,
    SANDBOX,
    SERVER,
    SUBSCRIBER,
    WATCHER,
    Options,
    Stage,
    StageFailed,
)
from shared.failpoint import POINTS

ENGINE_POINTS = tuple(name for name in POINTS if name.startswith(("engine", "relay")))
ORDER_POINTS = tuple(name for name in POINTS if not name.startswith(("engine", "relay")))
CHANCES = {
    "relay.renewed": 1.0,
    "order.commit": 0.01,
    "order.committed": 0.01,
    "lane.slot": 0.3,
    "lane.claimed": 0.3,
    "lane.flight": 0.3,
    "lane.answered": 0.3,
    "lane.booked": 0.3,
    "lane.change": 0.3,
    "lane.changed": 0.3,
}
"""Of a crash point each time it is passed: some are passed with every price, some with orders only."""

CHANCE = 0.12
VICTIMS = (ENGINE, SUBSCRIBER, SERVER, WATCHER, SANDBOX, EVERYTHING)
WEIGHTS = (3, 4, 1, 1, 1, 2)
STORMY = (Weather.BLACK_HOLE, Weather.HALF_OPEN, Weather.RESET, Weather.SLOW)
STEPS_S = (-3600, -20, -2, 2, 20, 3600)
"""By how much a wall clock steps."""

NO_ROOM = 4096
"""Bytes beyond which no file of a process may grow while its disk is full."""

READY_S = 30.0
PAUSE_S = 0.4
_ONE_AT_A_TIME = threading.Lock()
"""Migrations of a store are a matter of the whole process, and several scenes may run in one."""

KILL = 0.6
"""Chance of a kill by hand where a turn has no other deed; else a crash point gets its time."""

POLL_S = 0.02
RECOVER_S = 15.0
PATIENT = 0.75
"""Share of the deeds after which all is let recover; the others meet a system that is still starting."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard.

    Attributes:
        kills: So many ends by SIGKILL, of any kind.
        most_s: End the storm after so many seconds in any case.
        least_s: And not before so many.
        wipe_share: Of the deeds, how many let the bus forget everything.
        pause_share: Of the deeds, how many stop a process for a moment.
        network_share: Of the deeds, how many trouble the network to the broker for a moment.
        disk_share: Of the deeds, how many fill a process' disk for a moment.
        clock_share: Of the deeds, how many let the wall clock step for a moment.
        points: Crash points to use; all, one after another, where empty.
        random_kills: Also kill whatever runs, at any time.
        ready_s: Wait so long for what must come: accounts that take entries, the cursor at the head.
        settle_s: Wait so long for a clean verdict after the storm, unless there can be none.
        twin: Also start a second subscriber; it has to be refused.
    """

    kills: int = 20
    most_s: float = 120.0
    least_s: float = 0.0
    wipe_share: float = 0.08
    pause_share: float = 0.05
    network_share: float = 0.06
    disk_share: float = 0.03
    clock_share: float = 0.03
    points: Sequence[str] = ()
    random_kills: bool = True
    ready_s: float = 30.0
    settle_s: float = 100.0
    twin: bool = False


class Storm:
    """Drives one stage through one plan."""

    def __init__(self, stage: Stage, plan: Plan, seed: int) -> None:
        self.stage = stage
        self.plan = plan
        self.dice = random.Random(seed)
        self._turn = dict.fromkeys((ENGINE, *stage.subscribers), 0)
        self._target = 0
        self.twin_let_in = False
        self.operator = Operator({name: self._control(name) for name in stage.subscribers}, stage.cursor)

    def run(self) -> Verdict:
        """Go through storm and calm, once; return the verdict.

        Raises:
            StageFailed: It does not come to rest.
        """
        try:
            return self._run()
        finally:
            self.operator.close()

    # -- inside ----------------------------------------------------------------------------------

    def _run(self) -> Verdict:
        stage = self.stage
        with _ONE_AT_A_TIME:
            options = stage.options
            asyncio.run(
                store_users(stage.home, options.users, options.size, stage.database, options.groups)
            )
        self._start_all()
        self._ready()
        if self.plan.twin:
            self._twin()
        for name in self._own if self.plan.points or self.plan.random_kills else ():
            stage.stop(name)
            self._start(name)
        began = time.monotonic()
        while self._goes_on(time.monotonic() - began):
            self._deed()
            self._revive()
            if self.dice.random() < PATIENT:
                self._recover()
        return self._calm()

    def _goes_on(self, since_s: float) -> bool:
        enough = sum(self.stage.kills.values()) >= self.plan.kills and since_s >= self.plan.least_s
        return not enough and since_s < self.plan.most_s

    @property
    def _own(self) -> tuple[str, ...]:
        """What is ours and dies: the engine and the subscribers."""
        return (ENGINE, *self.stage.subscribers)

    def _start_all(self) -> None:
        for name in self._own:
            self._start(name, armed=False)

    def _start(self, name: str, *, armed: bool = True) -> None:
        points = [point for point in self.plan.points or POINTS if point in _points_of(name)]
        self.stage.points[name] = ""
        if armed and points:
            point = points[self._turn[name] % len(points)]
            self._turn[name] += 1
            self.stage.points[name] = f"{point}:{CHANCES.get(point, CHANCE)}"
        self.stage.start(name)
        if name != ENGINE:
            self._target = self.stage.head()
            self.operator.started(name, self._target)

    def _deed(self) -> None:
        """Do one bad thing, or wait for a crash point to do it."""
        plan = self.plan
        shares = (
            plan.wipe_share, plan.pause_share, plan.network_share, plan.disk_share, plan.clock_share
        )  # fmt: skip
        deeds = (
            self.stage.wipe, self._pause, self._network, self._full_disk, self._clock, self._kill
        )  # fmt: skip
        done = self.stage.deeds
        self.dice.choices(deeds, (*shares, max(1 - sum(shares), 0)))[0]()
        if self.stage.deeds > done:
            self.operator.disturbed()
        time.sleep(self.dice.uniform(0.05, PAUSE_S))

    def _kill(self) -> None:
        if self.plan.random_kills and self.dice.random() < KILL:
            victim = self.dice.choices(VICTIMS, WEIGHTS)[0]
            self.stage.kill(self.dice.choice(self.stage.subscribers) if victim == SUBSCRIBER else victim)

    def _twin(self) -> None:
        """Start a second subscriber beside the first; it must be refused, told who holds the books."""
        try:
            _, said = self.stage.trading(SUBSCRIBER, "--json", "--for", "2", timeout_s=20.0)
        except subprocess.TimeoutExpired:
            said = ""
        holder = self.stage.running[self.stage.subscribers[0]].pid
        self.twin_let_in = f"pid {holder} " not in said

    def _pause(self) -> None:
        """Let a process hang: one of ours, the bus (it lags), or the broker."""
        name = self.dice.choice((*self._own, SERVER, SANDBOX))
        if name == SERVER:
            pids = self.stage.server_pids()[:1]
        else:
            process = self.stage.running.get(name)
            pids = [process.pid] if process is not None and process.poll() is None else []
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.2, 1.5))
            _signal(pid, signal.SIGCONT)
            self.stage.troubles["pause"] += 1

    def _network(self) -> None:
        assert self.stage.proxy is not None, "it stands since the sandbox does"
        weather = self.dice.choice(STORMY)
        self.stage.proxy.set(weather)
        time.sleep(self.dice.uniform(0.3, 3.0))
        self.stage.proxy.set(Weather.FINE)
        self.stage.troubles[weather.value] += 1

    def _full_disk(self) -> None:
        process = self.stage.running.get(self.dice.choice(self._own))
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (NO_ROOM, resource.RLIM_INFINITY))
            time.sleep(self.dice.uniform(0.2, 1.5))
            self.stage.troubles["full disk"] += 1
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)

    def _clock(self) -> None:
        clock.step(self.stage.home, round(self.dice.choice(STEPS_S) * self.dice.random() * 1_000_000))
        time.sleep(self.dice.uniform(0.2, 2.0))
        clock.step(self.stage.home, 0)
        self.stage.troubles["clock"] += 1

    def _revive(self) -> None:
        """Start what has ended, and let accounts take entries again."""
        dead = self.stage.dead()
        if dead:
            self.operator.disturbed()
        for name in dead:
            self.stage.start(name) if name == SANDBOX else self._start(name)

    def _recover(self) -> None:
        """Wait until the subscriber is at the head that it met and accounts take entries again."""
        end = time.monotonic() + RECOVER_S
        while time.monotonic() < end:
            if self.operator.at_rest:
                return
            self._revive()
            time.sleep(POLL_S)

    def _control(self, name: str) -> Path:
        return self.stage.place(name).control

    def _ready(self) -> None:
        self.stage.until(lambda: self.operator.at_rest, "accounts that take entries", READY_S)
        self.stage.until(lambda: self.stage.cursor() > 2, "first signals", READY_S)
        self.operator.recoveries.clear()  # the store was new

    def _calm(self) -> Verdict:
        """Let everything run undisturbed until nothing is open, and look.

        A proof that a mutant is missed needs no patience; one that all is well waits as long as it may take.
        """
        stage = self.stage
        stage.dead()
        for name in self._own:
            stage.stop(name)
        if stage.running[SANDBOX].poll() is not None:
            stage.start(SANDBOX)
        stage.count_faults()
        stage.ask("/sandbox/faults", "DELETE")
        self._start_all()
        wait_s = self.plan.ready_s
        try:
            stage.until(lambda: self.operator.at_rest, "accounts that take entries after the storm", wait_s)
            stage.stop(ENGINE)
            stage.until(lambda: stage.cursor() >= stage.head(), "the cursor at the last signal", wait_s)
            self._disarm()
        except StageFailed as error:
            found = self._judge()
            found.findings.append(error.what)
            return found
        end = time.monotonic() + self.plan.settle_s
        while True:
            found = self._judge()
            if found.clean or found.beyond_repair or time.monotonic() > end:
                return found
            time.sleep(0.5)

    def _disarm(self) -> None:
        self.operator.close()
        for name in self.stage.subscribers:
            asyncio.run(ask(self._control(name), "disarm", {"users": []}))

    def _judge(self) -> Verdict:
        stage = self.stage
        _, said = stage.trading("verify", "--json")
        try:
            verified = json.loads(said.splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            return Verdict(findings=[f"verify: {said[-300:]}"])
        orders = [json.loads(line) for line in self._listing("orders", "--all")]
        positions = [json.loads(line) for line in self._listing("positions", "--all")]
        accounts = json.loads(stage.accounts_file.read_text().splitlines()[0])["accounts"]
        with contextlib.closing(Reader(stage.home, stage.database or None)) as reader:
            users = [user.user_id for user in reader.users()]
        clients = {user: each["client_code"] for user, each in zip(users, accounts, strict=True)}
        found = judge(verified, stage.ask("/sandbox/ledger")["orders"], orders, positions, clients)
        if self.twin_let_in:
            found.beyond_repair = True
            found.unexplained += 1
            found.findings.append("a second order manager was let in")
        return found

    def _listing(self, name: str, *more: str) -> list[str]:
        limit = ["-n", "1000000"] if name == "orders" else []
        code, said = self.stage.trading(name, *more, *limit, "--json", timeout_s=300.0)
        if code:
            raise StageFailed(f"trading {name}: {said}")
        return said.splitlines()


def storm(stage: Stage, plan: Plan, seed: int) -> Verdict:
    """Run *plan* on *stage*; see `Storm.run`."""
    return Storm(stage, plan, seed).run()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _points_of(name: str) -> tuple[str, ...]:
    return ENGINE_POINTS if name == ENGINE else ORDER_POINTS


__all__ = ["Options", "Plan", "Storm", "storm"]
