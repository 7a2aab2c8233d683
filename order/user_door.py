"""The front door for users: who there is, add one, change one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from broker.base import RemoteVenue, StoreVenue
from broker.registry import known as known_venues
from order.bookkeeper import Bookkeeper
from order.control import ControlClient
from order.lanes import Lanes
from order.orders import Order
from order.place import Place
from order.user_change import UserChange
from order.users import Limits, Terms, User, check_user
from shared.errors import ConfigurationError
from shared.store.thread import OwnedThread


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
        broker: str = "paper",
        replace: bool = False,
    ) -> User:
        """Add a user, who takes part from the next signal on, or *replace* one; return them as stored.

        Raises:
            ConfigurationError: The id is taken, or limits or terms are wrong.
        """
        wanted = User(
            user_no=0, user_id=user_id, name=name, group=group or "", family=family, broker=broker,
            profile=profile, limits=limits or Limits(), subscriptions=subscriptions or {},
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
        await opened.lanes.connect(saved)
        return saved

    # -- inside ----------------------------------------------------------------------------------

    async def _add_user(self, wanted: User, *, replace: bool) -> User:
        opened = self._here()
        check_user(wanted.user_id, wanted.limits, wanted.subscriptions)
        group = self.place.group_of(wanted.group or None)
        self._require_venue(wanted.broker)
        known = opened.books.users.get(wanted.user_id)
        if known is not None and not replace:
            raise ConfigurationError(
                f"There is a user {wanted.user_id!r} already.", remedy="Choose another id."
            )
        user = msgspec.structs.replace(wanted, user_no=known.user_no if known else 0, group=group)
        saved = await opened.thread.run(opened.books.save_user, user)
        await opened.lanes.connect(saved)
        return saved

    def _require_venue(self, broker: str) -> None:
        remotes = {remote.name for remote in self._remotes.values()}
        if broker not in {*known_venues(), *(self._venues or {}), *remotes}:
            raise ConfigurationError(
                f"There is no broker {broker!r}.", remedy=f"Known: {', '.join(known_venues())}."
            )
