"""The front door for users: who there is, add one, change one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from broker.base import RemoteVenue, StoreVenue
from broker.registry import known as known_venues
from order.account_state import AccountState
from order.bookkeeper import Bookkeeper
from order.control import ControlClient
from order.lanes import Lanes
from order.orders import Order
from order.place import Place
from order.user_change import CREDENTIALS, UserChange
from order.users import Limits, Terms, User, check_user
from shared.errors import ConfigurationError, LoginRefused, VenueUnavailable
from shared.store.thread import OwnedThread

LOGIN_TIMEOUT_S = 60.0
SET, REMOVED = "set", "removed"
CONNECTED, LEFT, EXITS_ONLY = "connected", "left", "exits only"

log = structlog.get_logger(__name__)


class Opened(Protocol):
    """What exists where the books are kept."""

    thread: OwnedThread
    books: Bookkeeper
    lanes: Lanes


class UserDoor:
    """The part of the order manager that keeps users."""

    place: Place
    _remote: ControlClient | None
    _remotes: Mapping[str, RemoteVenue]
    _venues: Mapping[str, StoreVenue] | None
    _here: Callable[[], Opened]
    _dispatch: Callable[[Sequence[Order]], None]

    async def users(self) -> list[User]:
        """Return all users by number."""
        if self._remote is not None:
            return msgspec.convert(await self._remote.ask("users"), list[User])
        return sorted(self._here().books.users.values(), key=lambda user: user.user_no)

    async def add_user(
        self,
        user_id: str,
        *,
        name: str = "",
        limits: Limits | None = None,
        subscriptions: dict[str, Terms] | None = None,
        profile: str = "",
        group: str | None = None,
        family: str = "",
        algo_id: str = "",
        broker: str = "paper",
        replace: bool = False,
    ) -> User:
        """Add a user, who takes part from the next signal on, or *replace* one; return them as stored.

        Raises:
            ConfigurationError: The id is taken, or limits or terms are wrong.
        """
        wanted = User(
            user_no=0, user_id=user_id, name=name, group=group or "", family=family, algo_id=algo_id,
            broker=broker, profile=profile, limits=limits or Limits(), subscriptions=subscriptions or {},
        )  # fmt: skip
        if self._remote is not None:
            given = {"user": msgspec.to_builtins(wanted), "replace": replace}
            return msgspec.convert(await self._remote.ask("add_user", given), User, strict=False)
        return await self._add_user(wanted, replace=replace)

    async def change_user(self, user_id: str, change: UserChange) -> User:
        """Change a user and return them as stored; see `UserChange`.

        Raises:
            ConfigurationError: There is no such user, or they cannot be changed like that (now).
        """
        if self._remote is not None:
            given = {"user_id": user_id, "change": msgspec.to_builtins(change)}
            return msgspec.convert(await self._remote.ask("change_user", given), User, strict=False)
        opened = self._here()
        if change.broker is not None:
            self._require_venue(change.broker)
        saved, sends = await opened.thread.run(opened.books.change_user, user_id, change)
        self._dispatch(sends)
        await self._join(opened, saved)
        return saved

    async def credentials(self, user_id: str, change: str, who: str) -> str:
        """Note that a user's credentials have changed, and let their account go by what is kept now.

        Args:
            user_id: Whose.
            change: `SET` or `REMOVED`.
            who: Has changed them; the journal keeps it. What they are is nowhere in it.

        Returns:
            What became of the account: `CONNECTED`, `LEFT`, `EXITS_ONLY`; empty where none is connected here.

        Raises:
            ConfigurationError: There is no such user, or what is kept cannot be read or is another account's.
            LoginRefused, VenueUnavailable: The broker says no, or nothing; a session that was there goes on.
            StoreError: It cannot be noted; nothing was connected or ended.
        """
        if self._remote is not None:
            given = {"user_id": user_id, "change": change, "who": who}
            return str(await self._remote.ask("credentials", given, LOGIN_TIMEOUT_S))
        opened = self._here()
        user = opened.books.users.get(user_id)
        if user is None:
            raise ConfigurationError(f"There is no user {user_id!r}.", remedy="`trading users` lists them.")
        await opened.thread.run(opened.books.note_account, user.user_no, CREDENTIALS, change, who)
        if change == REMOVED:
            return LEFT if await opened.lanes.leave(user) else EXITS_ONLY
        return CONNECTED if await opened.lanes.renew(user) else ""

    async def log_in(self, user_id: str, code: str) -> AccountState:
        """Begin the session of a connected account with the one-time *code* that its owner has typed.

        Raises:
            ConfigurationError: No account of theirs is connected.
            LoginRefused, VenueUnavailable: The broker says no, or nothing.
        """
        if self._remote is not None:
            given = {"user_id": user_id, "code": code}
            return msgspec.convert(await self._remote.ask("log_in", given, LOGIN_TIMEOUT_S), AccountState)
        return await self._here().lanes.log_in(user_id, code)

    # -- inside ----------------------------------------------------------------------------------

    async def _join(self, opened: Opened, user: User) -> None:
        """Connect a user's account; what hinders it does not undo what was saved of them."""
        try:
            await opened.lanes.join(user)
        except (ConfigurationError, LoginRefused, VenueUnavailable) as error:
            log.warning("an account is not connected", user=user.user_id, why=error.what, remedy=error.remedy)

    async def _add_user(self, wanted: User, *, replace: bool) -> User:
        opened = self._here()
        check_user(wanted.user_id, wanted.limits, wanted.subscriptions, wanted.algo_id)
        group = self.place.group_of(wanted.group or None)
        self._require_venue(wanted.broker)
        known = opened.books.users.get(wanted.user_id)
        if known is not None and not replace:
            raise ConfigurationError(
                f"There is a user {wanted.user_id!r} already.", remedy="Choose another id."
            )
        user = msgspec.structs.replace(wanted, user_no=known.user_no if known else 0, group=group)
        saved = await opened.thread.run(opened.books.save_user, user)
        await self._join(opened, saved)
        return saved

    def _require_venue(self, broker: str) -> None:
        remotes = {remote.name for remote in self._remotes.values()}
        if broker not in {*known_venues(), *(self._venues or {}), *remotes}:
            raise ConfigurationError(
                f"There is no broker {broker!r}.", remedy=f"Known: {', '.join(known_venues())}."
            )
