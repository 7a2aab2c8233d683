"""The front door for accounts at brokers: how they stand, what keeps them from entries; arm and disarm."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Any, Protocol

import msgspec

from order.account_state import AccountState
from order.control import ControlClient
from order.fingerprint import Fingerprint, Fingerprints
from order.lanes import Lanes
from order.place import Place
from order.users import User
from shared.store.thread import OwnedThread

ARM_TIMEOUT_S = 120.0


class Opened(Protocol):
    """What exists where the books are kept."""

    thread: OwnedThread
    lanes: Lanes


class AccountDoor:
    """The part of the order manager that opens accounts for entries."""

    place: Place
    _remote: ControlClient | None

    async def look(
        self, user_ids: Sequence[str] = (), *, strategies: Fingerprints | None = None
    ) -> list[AccountState]:
        """Return how accounts stand, each with its checks for arming; arms none. Arguments as `arm`.

        Raises:
            ConfigurationError: One of them has no account here.
        """
        if self._remote is not None:
            return await self._ask("look", _given(user_ids, strategies))
        return await self._here().lanes.look(user_ids, strategies, await self._kin())

    async def arm(
        self,
        user_ids: Sequence[str] = (),
        *,
        strategies: Fingerprints | None = None,
        words: str = "",
    ) -> list[AccountState]:
        """Open accounts for entries that no check keeps from them right now; see `order.checks`.

        Args:
            user_ids: Whose; empty: all that are connected.
            strategies: As they are configured, by id; what has changed since the last arming is told.
            words: What somebody has typed, see `order.checks.words_for`; accounts of a rehearsal need none.

        Raises:
            ConfigurationError: One of them has no account here.
            RefusedBySafety: Live accounts of users that must not be armed together, or not confirmed.
        """
        if self._remote is not None:
            return await self._ask("arm", {**_given(user_ids, strategies), "words": words})
        return await self._here().lanes.arm(user_ids, strategies, words, await self._kin())

    async def disarm(self, user_ids: Sequence[str] = ()) -> list[AccountState]:
        """Close accounts for entries; exits go on. Arguments and errors as `look`."""
        if self._remote is not None:
            return await self._ask("disarm", _given(user_ids, None))
        return await self._here().lanes.disarm(user_ids)

    async def accounts(self) -> list[AccountState]:
        """Return how each account stands, and who trades at a broker without one."""
        if self._remote is not None:
            return await self._ask("accounts", {})
        return self._here().lanes.states()

    def unattended(self, off: Collection[str] = ()) -> list[str]:
        """Return what users at brokers hold that nobody can sell, and who has no account, a line each.

        Args:
            off: Whose account has no session.
        """
        return self._here().lanes.unattended(off)

    # -- inside ----------------------------------------------------------------------------------

    async def _look(self, given: dict[str, Any]) -> list[AccountState]:
        return await self.look(_names(given), strategies=_strategies(given))

    async def _arm(self, given: dict[str, Any]) -> list[AccountState]:
        words = str(given.get("words") or "")
        return await self.arm(_names(given), strategies=_strategies(given), words=words)

    async def _disarm(self, given: dict[str, Any]) -> list[AccountState]:
        return await self.disarm(_names(given))

    async def _ask(self, do: str, given: dict[str, object]) -> list[AccountState]:
        assert self._remote is not None, "asked where another process keeps the books"
        return msgspec.convert(await self._remote.ask(do, given, ARM_TIMEOUT_S), list[AccountState])

    async def _kin(self) -> list[User]:
        """Return the users of other groups who trade at a broker: the rules for accounts know no groups."""
        place = self.place
        if place.group is None:
            return []

        def read() -> list[User]:
            with closing(place.reader()) as reader:
                return [user for user in reader.users() if user.group != place.group]

        found = await self._here().thread.run(read)
        return [user for user in found if user.enabled and user.broker not in ("paper", "shadow")]

    def _here(self) -> Opened:
        raise NotImplementedError


def _given(user_ids: Sequence[str], strategies: Fingerprints | None) -> dict[str, object]:
    return {"users": list(user_ids), "strategies": msgspec.to_builtins(strategies)}


def _names(given: dict[str, Any]) -> list[str]:
    return [str(name) for name in given.get("users") or ()]


def _strategies(given: dict[str, Any]) -> dict[str, Fingerprint] | None:
    return msgspec.convert(given.get("strategies"), dict[str, Fingerprint] | None)
