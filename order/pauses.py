"""Work without the collector of reference cycles, which would look through all that is being made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_pauses() -> Iterator[None]:
    """Keep the collector off; it is on again afterwards where it was before.

    A thousand orders of one signal are some ten thousand objects that live for one transaction: they wake
    the collector three times, and each tenth time it looks through the whole process (30 ms).
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
