"""What is done when prices stop, or nothing could be written for as long: entries at work come off.

As KILL does it, and unlike KILL it is no latch: with the first price entries are taken again. Stops and exits
stay as they are. Each is an input of its own, so that a day decided anew has it at the same place.
"""

from __future__ import annotations

import structlog

from order.orders import MANUAL
from order.store import Loaded
from order.switches import FEED_SILENT
from order.switching import Switching
from shared.clock import IST_OFFSET_US
from shared.models import OrderState, instant

STORE_DOWN = "store_down"
"""The kind of mark of the house that keeps when the books could not be written last, from and until."""

SILENCED = "taken off: prices have stopped"
UNWRITTEN = "taken off: the books could not be written for too long"

_NEW = OrderState.NEW

log = structlog.get_logger(__name__)


class DeadMan(Switching):
    """Does what is due when nobody tells the market, or nothing can be kept."""

    def remember(self, loaded: Loaded) -> None:
        """See `Switching.remember`; a market that was silent is so until its first price."""
        super().remember(loaded)
        for (user_no, kind, run), since_us in loaded.marks.items():
            if (user_no, kind) == (self.writer.base, FEED_SILENT) and since_us != "0":
                self.silent[run] = int(since_us)

    def hush(self, run: str, since_us: int, now_us: int) -> None:
        """Take the entries of market *run* off their venues: no price of it has come since *since_us*."""
        if run in self.silent:
            return
        log.critical("prices have stopped: entries are taken off, none is taken", since=clock(since_us))
        self.silent[run] = since_us
        self.note_account(self.writer.base, FEED_SILENT, run, str(since_us), now_us)
        self._take_off(SILENCED, now_us, run)
        self.journal_moves("hush", now_us, [run, since_us])

    def hear(self, now_us: int) -> None:
        """Take entries again: a price has come."""
        for run in self.silent:
            log.warning("prices come again: entries are taken")
            self.note_account(self.writer.base, FEED_SILENT, run, "0", now_us)
        self.silent.clear()

    def store_back(self, since_us: int, *, cancel: bool, now_us: int) -> None:
        """Note that the books could not be written since *since_us* and can be now.

        Args:
            since_us: Wall time.
            cancel: It was so long that entries at work are taken off: nobody has followed them.
            now_us: Wall time.
        """
        said = f"{clock(since_us)} to {clock(now_us)}"
        log.critical("the books can be written again", down=said, entries="taken off" if cancel else "stay")
        self.note_account(self.writer.base, STORE_DOWN, "", f"{since_us}-{now_us}", now_us)
        if cancel:
            self._take_off(UNWRITTEN, now_us)
        self.journal_moves("store_back", now_us, [since_us])

    @property
    def entries_out(self) -> bool:
        """Whether an entry is at a broker, or may be."""
        return any(order.wire is not None and order.state is not _NEW for order in self._entries())

    # -- inside ----------------------------------------------------------------------------------

    def _take_off(self, why: str, now_us: int, run: str = "") -> None:
        for order in self._entries():
            lives = order.run != MANUAL and not order.run.startswith("replay")
            if order.run == run if run else lives:
                self.withdraw(order, why, now_us)


def clock(at_us: int) -> str:
    """Return the time of day in India."""
    return f"{instant(at_us + IST_OFFSET_US):%H:%M:%S}"
