"""All accounts at brokers: who is connected, who takes entries, whose turn an order waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from broker.base import RemoteVenue
from order.account_state import AccountState, log_in_words, stranded, without_account
from order.bookkeeper import Bookkeeper
from order.checks import Check, Light, words_for
from order.clerk import Clerk
from order.fingerprint import Fingerprints
from order.lane import Lane
from order.morning import Rules, look, look_at_house
from order.orders import Order
from order.switches import Level, TurnRequest
from order.user_books import resized
from order.users import User
from shared.clock import ist_day
from shared.errors import ConfigurationError, LockHeld, RefusedBySafety, StoreError
from shared.store.thread import OwnedThread

WATCH_S = 1.0
"""Between two looks at what went out and at the day."""

log = structlog.get_logger(__name__)


class Dialer(Protocol):
    """Opens and ends users' sessions while the system runs."""

    async def dial(self, user_id: str) -> RemoteVenue | None:
        """Open the account of a user who came after the start; None where they have none."""
        ...

    def why(self, user_id: str) -> str:
        """Return why the account of a user cannot be opened; empty where nothing is kept to log in with."""
        ...

    async def redial(self, user_id: str) -> RemoteVenue | None:
        """Log in with what is kept of a user by now; None where nothing is.

        Raises:
            ConfigurationError: It is another account's, or cannot be read.
            LoginRefused, VenueUnavailable: The broker says no, or nothing; the old session is as it was.
        """
        ...

    async def hang_up(self, venue: RemoteVenue) -> None:
        """End the session of a *venue* that nobody uses any more."""
        ...


class Lanes:
    """See above.

    Args:
        remotes: The account of each user that has one, by user id.
        thread: Owns the store.
        books: Who keeps the books, on that thread.
        dialer: For users who come later, and credentials that change; None: nobody does.
        rules: What arming goes by.
    """

    def __init__(
        self,
        remotes: Mapping[str, RemoteVenue],
        thread: OwnedThread,
        books: Bookkeeper,
        dialer: Dialer | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._remotes = dict(remotes)
        self._dialer = dialer
        self._rules = rules or Rules()
        self._leaving: set[str] = set()
        self._waiting: dict[str, list[Order]] = {}  # for accounts that are not connected
        self._locked: set[str] = set()  # whose next session only their owner can begin
        self._dialling = asyncio.Lock()
        self._thread = thread
        self._books = books
        self._clerk = Clerk(thread, books, self.dispatch)
        self._lanes: dict[str, Lane] = {}
        self._shown: dict[int, User] = {}  # as they were when somebody looked; arming is for that
        self._closings: Counter[int] = Counter()  # by user number; what began before one arms nothing
        self._watch: asyncio.Task[None] | None = None
        self._day = ist_day(books.clock.now_us())

    async def connect(self, user: User) -> None:
        """Give *user* a lane where there is an account for them; it takes exits only until armed.

        Raises:
            LockHeld: Another order manager works on that account; the message says who.
        """
        remote = self._remotes.get(user.user_id)
        if remote is None or user.broker != remote.name or user.user_id in self._lanes:
            return
        await self._thread.run(self._books.store.hold, remote.identity)
        self._books.armed[user.user_no] = False
        # The broker counts on: what an earlier process sent within the hour has its place in the limits.
        now_us = self._books.clock.now_us()
        sends = self._books.desk.line(user.user_no).sent_before
        remote.sent_before([((now_us - sent_us) / 1e6, entry) for sent_us, entry in sends])
        lane = Lane(user.user_id, user.user_no, remote, self._clerk)
        self._lanes[user.user_id] = lane
        lane.start()
        for order in self._waiting.pop(user.user_id, ()):
            lane.put(order)  # whether it is still wanted is looked at when it is claimed
        if self._watch is None:
            self._begin_to_watch()

    async def join(self, user: User) -> bool:
        """Open and connect the account of a *user* who came after the start; return whether they have a lane.

        One whose orders go elsewhere by now is let go of: nothing of theirs is open there. A live account is
        closed for entries where its user, as they are now, is a stranger to the others.

        Raises:
            LockHeld: As `connect`.
            ConfigurationError, LoginRefused, VenueUnavailable: Their account cannot be opened.
        """
        lane = self._lanes.get(user.user_id)
        if lane is not None and self._dialer is not None and user.broker != lane.venue.name:
            return not await self.leave(user)
        async with self._dialling:
            at_broker = user.broker not in self._books.desk.venues
            if self._dialer is not None and at_broker and user.user_id not in self._remotes:
                remote = await self._dialer.dial(user.user_id)
                if remote is not None:
                    self._remotes[user.user_id] = remote
            await self.connect(user)
        lane = self._lanes.get(user.user_id)
        if lane is not None and self._books.armed.get(lane.user_no) and not lane.venue.local:
            why = _strangers(self._house([lane], ()))
            if why is not None:
                log.warning("an account is closed for entries", user=user.user_id, why=why.said)
                self._close([lane.user_no])
        return lane is not None

    async def renew(self, user: User) -> bool:
        """Let the account of *user* go by the credentials that are kept now; return whether it has a lane.

        It takes exits only until it is armed again. Where there is no new session the old one goes on.

        Raises:
            LockHeld: As `connect`.
            ConfigurationError, LoginRefused, VenueUnavailable: There is no session to be had with them.
        """
        lane = self._lanes.get(user.user_id)
        if lane is None:
            self._remotes.pop(user.user_id, None)
            return await self.join(user)
        async with self._dialling:
            remote = None if self._dialer is None else await self._dialer.redial(user.user_id)
            if remote is not None and self._dialer is not None:
                self._leaving.discard(user.user_id)
                self._close([user.user_no])
                self._remotes[user.user_id] = remote
                await self._dialer.hang_up(await lane.renew(remote))
        return True

    async def leave(self, user: User) -> bool:
        """Let go of the account of *user*, who has none any more; False: it stays, for exits alone."""
        lane = self._lanes.get(user.user_id)
        if lane is None:
            self._remotes.pop(user.user_id, None)
            return True
        async with self._dialling:
            self._close([user.user_no])
            if await self._thread.run(self._books.desk.engaged, user.user_no):
                self._leaving.add(user.user_id)
                return False
            del self._lanes[user.user_id], self._remotes[user.user_id]
            await lane.close()
            self._books.armed.pop(user.user_no, None)
            if self._dialer is not None:
                await self._dialer.hang_up(lane.venue)
        return True

    async def log_in(self, user_id: str, code: str) -> AccountState:
        """Begin the session of a user's account with a one-time code; see `OrderManager.log_in`."""
        (lane,) = self._chosen([user_id])
        await lane.venue.log_in(code)
        return lane.state(ready=await lane.read())

    def dispatch(self, sends: Sequence[Order]) -> None:
        """Give queued orders to their accounts; those of an account that is not connected wait for it."""
        for order in sends:
            lane = self._lanes.get(order.user.user_id)
            if lane is not None:
                lane.put(order)
            else:
                log.error("an order waits for an account", user=order.user.user_id, tag=order.tag)
                self._waiting.setdefault(order.user.user_id, []).append(order)

    async def look(
        self, user_ids: Sequence[str], prints: Fingerprints | None = None, kin: Sequence[User] = ()
    ) -> list[AccountState]:
        """Return how accounts stand, with what there is to say before they are armed; arms none."""
        chosen = self._chosen(user_ids)
        house = self._house(chosen, kin)
        found = await asyncio.gather(*(self._looked(lane, house, prints) for lane in chosen))
        return [*found, *([] if user_ids else self._unconnected())]

    async def arm(
        self,
        user_ids: Sequence[str],
        prints: Fingerprints | None = None,
        words: str = "",
        kin: Sequence[User] = (),
    ) -> list[AccountState]:
        """Open accounts for entries that nothing keeps from them; see `OrderManager.arm`.

        Raises:
            RefusedBySafety: Live accounts of users that must not be armed together, or not confirmed.
        """
        chosen = self._chosen(user_ids)
        house = self._house(chosen, kin)
        try:
            _permit(chosen, house, words)
        except RefusedBySafety:
            self._close(lane.user_no for lane in chosen)
            raise
        before = self._closings.copy()
        found = await asyncio.gather(*(self._arm(lane, house, prints, words, before) for lane in chosen))
        return [*found, *([] if user_ids else self._unconnected())]

    async def disarm(self, user_ids: Sequence[str]) -> list[AccountState]:
        """Close accounts for entries, at once and whether the store takes a note of it or not."""
        chosen = self._chosen(user_ids)
        self._close(lane.user_no for lane in chosen)
        for lane in chosen:
            try:
                await self._thread.run(self._books.note_disarming, lane.user_no)
            except (StoreError, LockHeld) as error:
                log.error("disarming is not in the journal", user=lane.user_id, why=error.what)
        return [lane.state(ready=not lane.trouble) for lane in chosen]

    def stopped(self, asked: TurnRequest) -> None:
        """Close live accounts that a human has stopped: they take entries when the words are typed anew."""
        if self._books.desk.live and asked.level is not Level.OFF and not asked.strategy_id:
            lanes = [lane for user_id, lane in self._lanes.items() if asked.user_id in ("", user_id)]
            self._close(lane.user_no for lane in lanes)

    async def read(self) -> None:
        """Read all books now, as far as they can be had."""
        await asyncio.gather(*(lane.read(positions=True) for lane in self._lanes.values()))

    def states(self) -> list[AccountState]:
        """Return how each account stands, and who trades at a broker and has none connected."""
        connected = [lane.state(ready=not lane.trouble) for lane in self._lanes.values()]
        return [*connected, *self._unconnected()]

    async def close(self) -> None:
        """End all lanes, side by side."""
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def unattended(self, off: Collection[str]) -> list[str]:
        """Return what users hold that nobody can sell, and who has no account, a line each.

        Args:
            off: Whose account has no session.
        """
        told = []
        for state in self._unconnected():
            told += [f"{state.user_id}: {note}" for note in state.notes]
        for user_id, lane in self._lanes.items():
            if user_id in off or lane.venue.needs_code:
                told += [f"{user_id}: {note}" for note in stranded(self._books, lane.user_no)]
        return told

    def _begin_to_watch(self) -> None:
        self._watch = asyncio.create_task(self._watch_on(), name="watch")
        self._watch.add_done_callback(self._watch_ended)

    def _watch_ended(self, task: asyncio.Task[None]) -> None:
        """Close all accounts for entries after a defect, and begin anew: the day's end has to be seen."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("a defect: accounts take no entries until they are armed again", what=repr(error)[:200])
        self._close(list(self._books.armed))
        self._begin_to_watch()

    def _watch_day(self) -> None:
        """Close all accounts for entries where another day has begun: sessions and arming are for one day."""
        day = ist_day(self._books.clock.now_us())
        if day != self._day:
            if any(self._books.armed.values()):
                log.warning("another day has begun: accounts take no entries until they are armed again")
            self._close(list(self._books.armed))
        self._day = day

    def _watch_sessions(self) -> None:
        """Close an account for entries whose session is over until its owner begins the next, and tell."""
        locked = {user_id for user_id, lane in self._lanes.items() if lane.venue.needs_code}
        for user_id in sorted(locked - self._locked):
            self._close([self._lanes[user_id].user_no])
            log.critical("an account is OFF: its session is over", user=user_id, remedy=log_in_words(user_id))
        self._locked = locked

    def _unconnected(self) -> list[AccountState]:
        """Return who trades at a broker and has no account here; none on paper."""
        if not self._lanes and self._dialer is None:
            return []
        desk, dialer = self._books.desk, self._dialer
        return [
            without_account(user, self._books, "" if dialer is None else dialer.why(user.user_id))
            for user in sorted(desk.users.values(), key=lambda each: each.user_id)
            if user.broker not in desk.venues and user.user_id not in self._lanes
            if user.enabled or self._books.engaged(user.user_no)  # who is disabled may hold something
        ]

    async def _watch_on(self) -> None:
        """Kill the house when more orders went out than were claimed: nothing here may do that."""
        told: dict[str, int] = {}
        while True:
            await asyncio.sleep(WATCH_S)
            self._watch_day()
            self._watch_sessions()
            for user_id, lane in list(self._lanes.items()):
                surplus = lane.placed - lane.claims
                if surplus <= told.get(user_id, 0):
                    continue
                why = f"{surplus} more orders of {user_id} went out than were claimed"
                log.critical("the house is killed", why=why)
                # Entries stop at once, whether the store takes it or not.
                self._close(list(self._books.armed))
                try:
                    await self._thread.run(self._books.turn, TurnRequest(Level.KILL, why=why))
                except ConfigurationError:
                    pass  # it is killed already
                except (StoreError, LockHeld) as error:
                    log.error("the switch cannot be kept; it is tried again", why=error.what)
                    continue
                told[user_id] = surplus

    async def _looked(
        self, lane: Lane, house: list[Check], prints: Fingerprints | None
    ) -> AccountState:
        self._shown[lane.user_no] = self._books.desk.users[lane.user_no]
        found = await look(lane, self._books, self._rules, prints)
        return lane.state(ready=found.ready, notes=found.notes, checks=[*found.checks, *house])

    async def _arm(
        self,
        lane: Lane,
        house: list[Check],
        prints: Fingerprints | None,
        words: str,
        before: Mapping[int, int],
    ) -> AccountState:
        session, closings, users = lane.venue, before.get(lane.user_no, 0), self._books.desk.users
        shown = self._shown.pop(lane.user_no, users[lane.user_no])
        meant = users[lane.user_no] if session.local else shown
        found = await look(lane, self._books, self._rules, prints)
        checks = [*found.checks, *house]
        if lane.user_id in self._leaving:
            remedy = f"`trading users credentials set {lane.user_id}`."
            checks.append(Check("credentials", Light.RED, "they are removed: exits only", remedy))
        if self._closings[lane.user_no] != closings:
            checks.append(Check("session", Light.RED, "closed for entries meanwhile", "Arm it again."))
        if resized(meant, users[lane.user_no]):
            said = "limits or terms have changed since somebody looked"
            checks.append(Check("session", Light.RED, said, "Look at them, and arm it again."))
        opened = found.ready and all(each.state is not Light.RED for each in checks)
        if opened:
            wanted = self._books.desk.users[lane.user_no].subscriptions
            kept = {name: each for name, each in (prints or {}).items() if name in wanted}
            told = [f"{each.name}: {each.said}" for each in checks if each.state is Light.YELLOW]
            try:
                await self._thread.run(self._books.note_arming, lane.user_no, words, told, kept)
            except (StoreError, LockHeld) as error:
                opened = False
                checks.append(Check("books", Light.RED, error.what, error.remedy))
        # Also one that was armed: books that do not agree take no entries, nor what nobody has looked at.
        if self._lanes.get(lane.user_id) is lane:
            closed = lane.venue is not session or self._closings[lane.user_no] != closings
            self._books.armed[lane.user_no] = opened and not closed
            if resized(meant, users[lane.user_no]):  # on the store's thread, after the last look
                self._close([lane.user_no])
        return lane.state(ready=found.ready, notes=found.notes, checks=checks)

    def _close(self, user_nos: Iterable[int]) -> None:
        """Close accounts for entries, also against whoever is about to arm them."""
        for user_no in user_nos:
            self._books.armed[user_no] = False
            self._closings[user_no] += 1

    def _house(self, chosen: Sequence[Lane], kin: Sequence[User]) -> list[Check]:
        """Return what there is to say of all accounts that take entries once *chosen* do."""
        armed = [lane for lane in self._lanes.values() if self._books.armed.get(lane.user_no)]
        numbers = {lane.user_no for lane in [*chosen, *armed]}
        users = [*(self._books.desk.users[number] for number in sorted(numbers)), *kin]
        live = any(not lane.venue.local for lane in chosen)
        return look_at_house(self._books, self._rules, users, live=live)

    def _chosen(self, user_ids: Sequence[str]) -> list[Lane]:
        unknown = sorted(set(user_ids) - set(self._lanes))
        if unknown:
            raise ConfigurationError(
                f"No account of {', '.join(unknown)} is connected.",
                remedy=f"Connected: {', '.join(sorted(self._lanes)) or 'none, this run is on paper'}.",
            )
        return [lane for user_id, lane in self._lanes.items() if not user_ids or user_id in user_ids]


def _permit(chosen: Sequence[Lane], house: Sequence[Check], words: str) -> None:
    """Make sure that live accounts may be armed together, and that somebody has typed so.

    Raises:
        RefusedBySafety: They may not, or nobody has.
    """
    live = sum(not lane.venue.local for lane in chosen)
    if not live:
        return
    if (why := _strangers(house)) is not None:
        raise RefusedBySafety(f"Not armed: {why.said}.", remedy=why.remedy)
    nobody = any(each.state is Light.RED for each in house)  # of them: whatever was typed, all stay closed
    if words != words_for(live) and not nobody:
        raise RefusedBySafety(
            f"Live accounts take entries only when somebody types {words_for(live)!r}.",
            remedy="`trading arm` at a terminal shows them and asks for it.",
        )


def _strangers(house: Sequence[Check]) -> Check | None:
    """Return the check that says that users must not be armed together, or None."""
    return next((each for each in house if each.name == "deployment" and each.state is Light.RED), None)
