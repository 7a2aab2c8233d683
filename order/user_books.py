"""The books as the user service uses them: users saved, changed, and out of what they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from order.desk import Desk
from order.orders import Order
from order.record import VERSION, Recorder
from order.store import OrderStore
from order.user_change import FLATTEN, UserChange, changed
from order.users import User, user_rows
from shared.clock import Clock
from shared.errors import ConfigurationError


class UserBooks:
    """The part of the bookkeeper that keeps users; see `order.bookkeeper`."""

    desk: Desk
    store: OrderStore
    recorder: Recorder
    armed: dict[int, bool]
    _clock: Clock
    _by_id: Mapping[str, User] | None = None
    _subscribers: dict[tuple[str, str], list[User]] | None = None

    @property
    def users(self) -> Mapping[str, User]:
        """All users by id."""
        found = self._by_id
        if found is None:
            found = self._by_id = {user.user_id: user for user in self.desk.users.values()}
        return found

    def save_user(self, user: User) -> User:
        """Store a user (new when `user_no` is 0); return them with their number."""
        known = self.desk.users.get(user.user_no)
        if known is not None and known.group != user.group:
            raise ConfigurationError(
                f"User {user.user_id!r} belongs to the group {known.group!r} for good.",
                remedy="Another group's cursor stands elsewhere: signals would come twice or not at all.",
            )
        if user.user_no == 0:
            user = msgspec.structs.replace(user, user_no=self.desk.writer.next_of(self.desk.users))
        account = known.account if known is not None else user.account or user.broker
        user = msgspec.structs.replace(user, account=account)  # the ids of their orders hang on it
        if known is not None and known.broker != user.broker and self.desk.engaged(user.user_no):
            raise ConfigurationError(
                f"User {user.user_id!r} has open positions or orders at {known.broker!r}.",
                remedy="Close them before the user goes to another broker.",
            )
        now_us = self._clock.now_us()
        if self.recorder.waiting:
            self.write_down(now_us)  # what came in before has to stand before
        body = [VERSION, msgspec.to_builtins(user), user_rows(user, now_us)]
        try:
            self.store.save_user(user, body, now_us, self.desk.journal)
        except BaseException:
            self._undo()
            raise
        self.desk.know_user(user)
        self._forget_users()
        other = known is not None and (
            known.broker != user.broker or (self.desk.live and resized(known, user))
        )
        if other and user.user_no in self.armed:
            self.armed[user.user_no] = False  # somebody has armed what they were before
        return user

    def change_user(self, user_id: str, change: UserChange) -> tuple[User, list[Order]]:
        """Change a user; return them, and exits that have to go out where a position is flattened.

        Raises:
            ConfigurationError: There is no such user, or they cannot be changed like that (now).
        """
        user = self.users.get(user_id)
        if user is None:
            raise ConfigurationError(
                f"There is no user {user_id!r} in this group.",
                remedy="`trading users` lists all, with their groups.",
            )
        saved = self.save_user(changed(user, change, self.desk.open_in(user.user_no)))
        flat = [strategy_id for strategy_id, how in change.leave.items() if how == FLATTEN]
        if change.holdings == FLATTEN:
            flat = list(self.desk.open_in(saved.user_no))
        return saved, self.leave_all(saved.user_no, flat) if flat else []

    def leave_all(self, user_no: int, strategies: list[str]) -> list[Order]:
        """Get out of whatever *strategies* hold for a user; return exits that have to go out."""
        now_us = self._clock.now_us()
        return self._commit(
            lambda desk: desk.leave_all(user_no, strategies, now_us), "leave_all", now_us, user_no, strategies
        )

    def write_down(self, now_us: int) -> None:
        """Journal the inputs that wait."""
        raise NotImplementedError

    def _commit(
        self, decide: Callable[[Desk], object], kind: str, now_us: int, *given: object
    ) -> list[Order]:
        raise NotImplementedError

    def _undo(self) -> None:
        raise NotImplementedError

    def _forget_users(self) -> None:
        """Look users up anew: one has changed."""
        self._by_id = self._subscribers = None


def resized(before: User, after: User) -> bool:
    """Whether a user may enter other amounts than before, or at all; who only leaves a strategy may not."""
    was = before.subscriptions
    larger = any(
        each != was.get(strategy_id) and not each.leaving for strategy_id, each in after.subscriptions.items()
    )
    return larger or before.limits != after.limits or (after.enabled and not before.enabled)
