"""The service's rate limits, per client code, in sliding windows."""

from __future__ import annotations

from collections import deque

SECOND, MINUTE, HOUR = 1.0, 60.0, 3_600.0

Windows = tuple[tuple[float, int], ...]
"""Length in seconds and how many requests fit, for each window."""

ORDERS = "orders"
BUCKETS: dict[str, Windows] = {
    "login": ((SECOND, 1),),
    "tokens": ((SECOND, 1), (HOUR, 1_000)),
    "profile": ((SECOND, 3), (HOUR, 1_000)),
    "logout": ((SECOND, 1),),
    "rms": ((SECOND, 2),),
    ORDERS: ((SECOND, 9), (MINUTE, 500), (HOUR, 1_000)),
    "orderbook": ((SECOND, 1),),
    "tradebook": ((SECOND, 1),),
    "positions": ((SECOND, 1),),
    "holdings": ((SECOND, 1),),
    "all_holdings": ((SECOND, 1),),
    "search": ((SECOND, 1),),
    "ltp": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "convert": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "details": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "quote": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "quote_1": ((SECOND, 1), (MINUTE, 500), (HOUR, 5_000)),
    "margin": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "gtt_read": ((SECOND, 10), (MINUTE, 500), (HOUR, 5_000)),
    "gtt_write": ((SECOND, 9), (MINUTE, 500), (HOUR, 5_000)),
    "candles": ((SECOND, 3), (MINUTE, 180), (HOUR, 5_000)),
    "greeks": ((SECOND, 1),),
}
"""As documented in 2026; place, modify and cancel share one bucket."""


class RateLimiter:
    """Counts requests of each client in each bucket."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[float]] = {}
        self.breaches: dict[str, int] = {}

    def allow(self, client: str, bucket: str, now_s: float) -> bool:
        """Return whether a request fits now; one that does not is not counted in the windows.

        Args:
            client: Client code.
            bucket: A name in `BUCKETS`; any other has no limit.
            now_s: Of a clock that never steps, seconds.
        """
        windows = BUCKETS.get(bucket)
        if windows is None:
            return True
        seen = self._seen.setdefault((client, bucket), deque(maxlen=windows[-1][1]))
        for length, most in windows:
            if len(seen) >= most and seen[-most] > now_s - length:
                self.breaches[client] = self.breaches.get(client, 0) + 1
                return False
        seen.append(now_s)
        return True
