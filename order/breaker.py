"""Entries of an account wait while its broker does not answer; exits are always tried.

Closed: all goes out. After a few lost answers in a row it opens, and entries stay here, where they expire
with their signal in place of an unknown fate. After a while one entry may go as a probe: an answer, whatever
it says, closes the breaker; a lost one opens it anew.
"""

from __future__ import annotations

import structlog

from broker.base import Accepted, PlaceOutcome, Rejected, Unknown

LOST_IN_A_ROW = 3
PAUSE_S = 15.0
"""From opening to the probe, and between two probes."""

log = structlog.get_logger(__name__)


class Breaker:
    """Of one account. Times are seconds of a clock that only goes on.

    Args:
        user_id: For the log.
    """

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._lost = 0
        self._until_s = 0.0

    @property
    def open(self) -> bool:
        """Whether entries wait."""
        return self._lost >= LOST_IN_A_ROW

    @property
    def notes(self) -> list[str]:
        """Return what there is to say of it; nothing while it is closed."""
        return [f"{self._lost} sends in a row had no answer; entries wait"] if self.open else []

    def holds(self, now_s: float) -> str:
        """Return why an entry has to wait, or nothing: then it may go, as a probe where it is open."""
        if not self.open:
            return ""
        if now_s < self._until_s:
            return self.notes[0]
        self._until_s = now_s + PAUSE_S  # one probe at a time
        return ""

    def sent(self, outcome: PlaceOutcome, now_s: float) -> None:
        """Take what a send came to, an entry's or an exit's; what never left says nothing."""
        if isinstance(outcome, Unknown):
            self._lost += 1
            self._until_s = now_s + PAUSE_S
            if self._lost == LOST_IN_A_ROW:
                log.warning("a broker does not answer; entries wait", user=self._user_id, why=outcome.reason)
        elif isinstance(outcome, Accepted | Rejected):
            if self.open:
                log.info("a broker answers again; entries go on", user=self._user_id)
            self._lost = 0
