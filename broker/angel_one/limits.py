"""Rate limits that hold whatever the network does: a slot is taken from the send until its window has
passed since the ANSWER.

A server counts a request when it arrives, some time between our send and its answer. When request i goes
out only after a window has passed since the answer to request i − N, the server can never see N + 1 of
them within a window, rolling or by the calendar, however late any of them travelled.

A lost answer says nothing of when its request arrives, or whether: its slot stays taken some seconds more.

What this costs is the time of an answer for each window: nine a second become 9 / (1 + answer). A window
after the send would cost less and be wrong: of requests that travel 15 to 30 ms each way, 2 % met a full
window with 5 ms to spare and 0.4 % with 20 ms. The window of a minute hides the cost up to 80 ms, for it
lets 500 through in a minute, not 540.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping

from broker.angel_one.endpoints import ENTRY_SHARE_PERCENT, WINDOWS, Bucket, Windows
from shared.clock import Clock

PENALTY_S, PENALTY_MOST_S = 1.0, 30.0
"""How long a bucket rests after the service said "too many": doubled each time, up to the most."""

LATE_S = 5.0
"""A request whose answer is lost may arrive so much later than the answer was given up."""

DRIFT = 1.0002
"""Windows are so much longer here: two clocks of one hour may differ by a fifth of a second."""

RESERVED_S = 5.0
"""A slot that is reserved and not used for so long is free again."""


class Meter:
    """Slots of one bucket, without I/O: times come in as arguments, seconds of a clock that never steps.

    Args:
        windows: Length and size of each.
        entry_percent: Share of each window that entries may use.
    """

    def __init__(self, windows: Windows, entry_percent: int = 100) -> None:
        windows = tuple((length * DRIFT, most) for length, most in windows)
        self._windows = windows
        self._entry = tuple((length, max(most * entry_percent // 100, 1)) for length, most in windows)
        self._most = max(most for _, most in windows)
        self._all: deque[float] = deque(maxlen=self._most)
        self._entries: deque[float] = deque(maxlen=self._most)
        self._busy = 0
        self._busy_entries = 0
        self._penalty_s = 0.0
        self._rests_until = 0.0

    def free_at(self, now: float, *, entry: bool) -> float | None:
        """Return when the next slot is free (≤ *now*: at once); None while only an answer can free one."""
        wait = self._rests_until
        for windows, done, busy in self._counts(entry):
            for length, most in windows:
                room = most - busy
                if room <= 0:
                    return None
                if len(done) >= room:
                    # The answer whose window has to pass before so many fit again.
                    wait = max(wait, done[-room] + length)
        return max(wait, 0.0)

    def take(self, *, entry: bool) -> None:
        """Occupy a slot."""
        self._busy += 1
        self._busy_entries += entry

    def give(self, now: float, *, entry: bool, used: bool) -> None:
        """Say that the answer came (or is known to be lost) at *now*; an unused slot leaves no trace."""
        self._busy -= 1
        self._busy_entries -= entry
        if used:
            _note(self._all, now)
            if entry:
                _note(self._entries, now)

    def remember(self, now: float, sends: Iterable[tuple[float, bool]]) -> None:
        """Take what an earlier process sent, unless this one has begun already.

        When their answers came is not known: each may arrive up to `LATE_S` after it was sent, also yet.

        Args:
            now: Seconds.
            sends: How long ago, seconds, and whether an entry.
        """
        if self._all or self._busy:
            return
        for ago_s, entry in sorted(sends, reverse=True):
            _note(self._all, now - ago_s + LATE_S)
            if entry:
                _note(self._entries, now - ago_s + LATE_S)

    def refused(self, now: float) -> float:
        """Rest after "too many requests"; return for how many seconds."""
        self._penalty_s = min(max(self._penalty_s * 2, PENALTY_S), PENALTY_MOST_S)
        self._rests_until = max(self._rests_until, now + self._penalty_s)
        return self._penalty_s

    def accepted(self) -> None:
        """Forget earlier penalties."""
        self._penalty_s = 0.0

    def _counts(self, entry: bool) -> tuple[tuple[Windows, deque[float], int], ...]:
        both = (self._windows, self._all, self._busy)
        return (both, (self._entry, self._entries, self._busy_entries)) if entry else (both,)


def _note(done: deque[float], at: float) -> None:
    """Add a time and keep the order: those of an earlier process may still lie ahead."""
    if not done or done[-1] <= at:
        done.append(at)
        return
    if len(done) == done.maxlen:
        done.popleft()
    bisect.insort(done, at)


class Slot:
    """A reserved place in a bucket; used by one call, or given back."""

    __slots__ = ("_clock", "_entry", "_lane", "_timer", "_used")

    def __init__(self, lane: Lane, entry: bool, clock: Clock) -> None:
        self._lane = lane
        self._entry = entry
        self._clock = clock
        self._used: bool | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RESERVED_S, self.free)

    @property
    def usable(self) -> bool:
        """Whether it has not been used or given back."""
        return self._used is None

    def use(self) -> None:
        """Begin the call; `answered` must follow."""
        self._timer.cancel()
        self._used = True

    def answered(self, *, too_many: bool = False, lost: bool = False) -> None:
        """The answer is there, or known to be lost."""
        if lost:
            asyncio.get_running_loop().call_later(LATE_S, self.answered)
            return
        now = self._clock.boot_s()
        self._lane.meter.give(now, entry=self._entry, used=True)
        if too_many:
            self._lane.meter.refused(now)
        else:
            self._lane.meter.accepted()
        self._lane.wake()

    def free(self) -> None:
        """Give back a slot that was not used; harmless after use."""
        if self._used is None:
            self._used = False
            self._timer.cancel()
            self._lane.meter.give(self._clock.boot_s(), entry=self._entry, used=False)
            self._lane.wake()


class Lane:
    """Those who wait for one bucket: exits and cancels before entries, each in the order of arrival."""

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self.meter = meter
        self._clock = clock
        self._waiting: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())
        self._timer: asyncio.TimerHandle | None = None

    async def slot(self, *, entry: bool) -> Slot:
        """Wait for a place."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[entry].append(turn)
        self.wake()
        try:
            await turn
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiting[entry].remove(turn)
            if turn.done() and not turn.cancelled():
                self.meter.give(self._clock.boot_s(), entry=entry, used=False)
            self.wake()
            raise
        return Slot(self, entry, self._clock)

    def remember(self, sends: Iterable[tuple[float, bool]]) -> None:
        """See `Meter.remember`."""
        self.meter.remember(self._clock.boot_s(), sends)
        self.wake()

    def wake(self) -> None:
        """Let those go whose slot is free; look again when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.boot_s()
        later: list[float] = []
        for entry in (False, True):
            queue = self._waiting[entry]
            while queue:
                if queue[0].cancelled():
                    queue.popleft()
                    continue
                free_at = self.meter.free_at(now, entry=entry)
                if free_at is None:
                    break
                if free_at > now:
                    later.append(free_at)
                    break
                self.meter.take(entry=entry)
                queue.popleft().set_result(None)
        if later:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(later) - now + 0.0005, self.wake)


class Limiter:
    """All buckets of one client code.

    Args:
        clock: Its boot time counts.
        windows: Other limits than Angel One's, for tests.
    """

    def __init__(self, clock: Clock, windows: Mapping[Bucket, Windows] = WINDOWS) -> None:
        self._lanes = {
            bucket: Lane(Meter(each, ENTRY_SHARE_PERCENT if bucket is Bucket.ORDERS else 100), clock)
            for bucket, each in windows.items()
        }

    async def slot(self, bucket: Bucket, *, entry: bool = False) -> Slot:
        """Wait for a place in *bucket*."""
        return await self._lanes[bucket].slot(entry=entry)

    def sent_before(self, bucket: Bucket, sends: Iterable[tuple[float, bool]]) -> None:
        """Count what an earlier process sent: how long ago, seconds, and whether an entry."""
        self._lanes[bucket].remember(sends)
