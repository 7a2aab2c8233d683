"""The books as the watch uses them: prices that have stopped, and a store that cannot be written."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from order.desk import Desk
from order.orders import Order
from order.store import OrderStore
from shared.clock import Clock
from shared.errors import StoreError

log = structlog.get_logger(__name__)


class WatchBooks:
    """The part of the bookkeeper that `order.watch` talks to.

    Attributes:
        down_us: Since when the books cannot be written, wall time; 0: they can.
    """

    desk: Desk
    store: OrderStore
    down_us = 0
    _clock: Clock

    def hush(self, run: str, since_us: int) -> None:
        """Take the entries of market *run* off: no price of it has come since *since_us*, wall time."""
        now_us = self._clock.now_us()
        self._commit(lambda desk: desk.hush(run, since_us, now_us), "hush", now_us, run, since_us)

    def store_back(self, since_us: int, cancel: bool) -> None:
        """Note that the books can be written again; with *cancel* entries at work come off."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.store_back(since_us, cancel=cancel, now_us=now_us),
            *("store_back", now_us, since_us, cancel),
        )

    def try_store(self, longest_s: float) -> None:
        """See that the books can be written while it matters; tell where they cannot and when they can again.

        Args:
            longest_s: Down for longer, and entries at work come off: nobody has followed them.

        Raises:
            StoreError: They cannot.
        """
        if not self.down_us and not self.desk.entries_out:
            return
        now_us = self._clock.now_us()
        try:
            self.store.try_out()
            if self.down_us:
                self.store_back(self.down_us, now_us - self.down_us >= longest_s * 1e6)
                self.down_us = 0
        except StoreError as error:
            self._down(error, now_us)
            raise

    # -- inside ----------------------------------------------------------------------------------

    def _down(self, error: StoreError, now_us: int) -> None:
        """Note that a transaction could not be written."""
        if not self.down_us:
            log.critical("the books cannot be written: nothing is sent", why=error.what)
            self.down_us = now_us

    def _commit(
        self, decide: Callable[[Desk], object], kind: str, now_us: int, *given: object
    ) -> list[Order]:
        raise NotImplementedError
