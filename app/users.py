"""What `trading users` does: users read from the store, changed through whoever keeps the books."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from app.listing import size
from app.plan import BROKER, Data, Venue, plan
from app.review import environment_of, keeper
from order.manager import OrderManager
from order.reading import Reader
from order.user_change import UserChange
from order.users import Limits, Terms, User, check_user, mode_of, shown_users
from shared.errors import ConfigurationError, RefusedBySafety, StoreError
from shared.settings import Settings

WORD, LIVE = "import", "live"


class Exported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One user in a file."""

    user_id: str
    name: str = ""
    group: str = "default"
    family: str = ""
    algo_id: str = ""
    broker: str = "paper"
    enabled: bool = True
    limits: Limits = Limits()
    subscriptions: dict[str, Terms] = {}


class ExportFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `trading users export` writes."""

    users: list[Exported]


def add(
    user_id: str,
    name: str,
    family: str,
    algo_id: str,
    broker: str | None,
    limits: Sequence[str],
    *,
    group: str | None,
    as_json: bool,
    mode: str | None = None,
) -> None:
    """Add a user and show them; with the *mode* `live` the first one makes live books.

    Raises:
        ConfigurationError: The id is taken, or a limit is wrong.
    """
    values = pairs(limits)
    # Whoever is added must not be known: the change is made before there is anybody to be changed.
    blank = User(user_no=0, user_id=user_id)
    made = _changed(blank, UserChange(limits=values)).limits

    async def ask(manager: OrderManager) -> User:
        # Whoever trades real money has been set to it by name: `--mode live`.
        chosen = broker or (BROKER if _environment(Settings.load()) in ("sandbox", "proof") else "paper")
        return await manager.add_user(
            user_id, name=name, family=family, algo_id=algo_id, broker=chosen, limits=made, group=group
        )

    _show(_through(Settings.load(), group, ask, mode), as_json)


def change(user_id: str, wanted: Mapping[str, Any], *, group: str | None, as_json: bool) -> None:
    """Change a user and show them.

    Args:
        user_id: Whose.
        wanted: Fields of `UserChange`.

    Raises:
        ConfigurationError: There is no such user, or they cannot be changed like that.
    """
    asked = msgspec.convert(wanted, UserChange, strict=False)

    async def ask(manager: OrderManager) -> User:
        return await manager.change_user(user_id, asked)

    _show(_through(Settings.load(), group, ask), as_json)


def subscribe(
    user_id: str, strategy_id: str, terms: Mapping[str, Any], *, group: str | None, as_json: bool
) -> None:
    """Subscribe a user to a configured strategy, or change the terms.

    Raises:
        ConfigurationError: There is no such strategy or user, or the terms are wrong.
    """
    from strategy.config import load_configs

    known = [config.strategy_id for config in load_configs(Settings.load().strategies_file)]
    if strategy_id not in known:
        raise ConfigurationError(
            f"No strategy {strategy_id!r} is configured.", remedy=f"Known: {', '.join(known)}."
        )
    change(user_id, {"subscribe": {strategy_id: dict(terms)}}, group=group, as_json=as_json)


def broker_of(broker: str | None, mode: str | None) -> str | None:
    """Return the broker that a mode stands for, or the one that was named; None: neither was.

    Raises:
        ConfigurationError: Both were, or these books know no such mode.
        RefusedBySafety: It comes to real money, and `--mode live` was not said; or it was, of other books.
    """
    if mode is not None and broker is not None:
        raise ConfigurationError("--mode and --broker say the same.", remedy="Give one of them.")
    wanted = mode or broker
    if wanted in ("paper", "shadow", None):
        return wanted
    if mode is not None and mode not in ("sandbox", LIVE):
        raise ConfigurationError(f"There is no mode {mode!r}.", remedy="paper, shadow, sandbox or live.")
    books = _environment(Settings.load(), mode)
    if (mode == LIVE) is not (books == LIVE):
        asked = "a live user" if mode == LIVE else f"--mode {mode}" if mode else f"--broker {broker}"
        raise RefusedBySafety(
            f"The books of this state folder are of {books}; {asked} does not belong there.",
            remedy="A live folder is a place of its own (TRADING_HOME, PAPER_TRADING=false, no endpoints): "
            "users become live there by `--mode live` alone.",
        )
    if mode == "sandbox" and books == "paper":
        raise ConfigurationError(
            "The books of this state folder are of paper.",
            remedy="A rehearsal has a folder of its own: set TRADING_HOME, and PAPER_TRADING=false.",
        )
    return broker or BROKER


def pairs(values: Sequence[str]) -> dict[str, Decimal | bool]:
    """Return `name=value` words as limits.

    Raises:
        ConfigurationError: One is none.
    """
    found: dict[str, Decimal | bool] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if value.lower() in ("true", "yes", "false", "no"):
            found[name] = value.lower() in ("true", "yes")
            continue
        try:
            found[name] = Decimal(value.replace(",", ""))
        except ArithmeticError:
            equals = ""
        if not equals:
            raise ConfigurationError(f"{word!r} is no limit.", remedy="Say NAME=VALUE: max_order_inr=50000.")
    return found


def show(user_id: str, *, as_json: bool, only: str = "") -> None:
    """Show one user as stored; or one part of them.

    Raises:
        ConfigurationError: There is no such user.
    """
    settings = Settings.load()
    with closing(Reader(settings.home, settings.postgres_url)) as reader:
        known = {user.user_id: user for user in reader.users()}
    if user_id not in known:
        raise ConfigurationError(f"There is no user {user_id!r}.", remedy=f"Known: {', '.join(known)}.")
    _show(known[user_id], as_json, only)


def export(out: Path | None) -> None:
    """Write all users as JSON.

    Raises:
        StoreError: The file cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(ExportFile(_stored(Settings.load()))), indent=1).decode()
    if out is None:
        print(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}.") from error
    print(f"{out}: {len(_stored(Settings.load()))} users")


def import_file(file: Path, *, yes: bool, group: str | None) -> None:
    """Show what *file* would change, ask, and change it.

    Raises:
        ConfigurationError: The file cannot be read, is none of ours, or a user in it is wrong.
    """
    settings = Settings.load()
    try:
        wanted = msgspec.json.decode(file.read_bytes(), type=ExportFile).users
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        remedy = "`trading users export` writes such a file."
        raise ConfigurationError(f"{file}: {error}.", remedy=remedy) from error
    for each in wanted:
        check_user(each.user_id, each.limits, each.subscriptions, each.algo_id)
    stored = {each.user_id: each for each in _stored(settings)}
    books = _environment(settings)
    if books == LIVE:
        wanted = [_not_live_by_file(each, stored.get(each.user_id)) for each in wanted]
    lines = [line for each in wanted for line in _differences(stored.get(each.user_id), each, books)]
    if not lines:
        print("Nothing would change.")
        return
    print("\n".join(lines))
    if not yes:
        _confirm(len(wanted))
    changed = [each for each in wanted if stored.get(each.user_id) != each]
    for name in sorted({each.group for each in changed}):
        own = [each for each in changed if each.group == name]

        async def put(manager: OrderManager, own: Sequence[Exported] = own) -> None:
            for each in own:
                await _put(manager, each, stored)

        _through(settings, group or name, put)


# -- inside --------------------------------------------------------------------------------------------


def _through(settings: Settings, group: str | None, ask: Any, mode: str | None = None) -> Any:
    async def run() -> Any:
        async with _manager(settings, group, mode) as manager:
            return await ask(manager)

    return asyncio.run(run())


def _environment(settings: Settings, mode: str | None = None) -> str:
    """Return what the books are marked with, or will be by what the settings and a user's *mode* say."""
    try:
        return environment_of(settings)
    except StoreError:
        if settings.postgres_url is None and any(settings.home.glob("*.db")):
            raise  # there are some, and they cannot be read
    chosen = plan(settings)
    # Before anybody has credentials nothing but the word tells live books from a rehearsal on our own.
    nobody = chosen.orders is Venue.SANDBOX and chosen.data is Data.EMBEDDED and not chosen.proof
    return LIVE if mode == LIVE and nobody else chosen.environment


def _manager(settings: Settings, group: str | None, mode: str | None) -> OrderManager:
    """Return who keeps the books; where there are none yet, they are made for what the settings say."""
    try:
        return keeper(settings, group)
    except StoreError:
        if settings.postgres_url is None and any(settings.home.glob("*.db")):
            raise  # there are some, and they cannot be read
    books = _environment(settings, mode)
    return OrderManager(
        books == "paper", environment=books, settings=settings, group=group, demo_strategies=None
    )


async def _put(manager: OrderManager, wanted: Exported, stored: Mapping[str, Exported]) -> User:
    if wanted.user_id not in stored:
        await manager.add_user(
            wanted.user_id, name=wanted.name, family=wanted.family, algo_id=wanted.algo_id,
            broker=wanted.broker, limits=wanted.limits, group=wanted.group if manager.place.group else None,
        )  # fmt: skip
    before = stored.get(wanted.user_id)
    gone = set(before.subscriptions) - set(wanted.subscriptions) if before is not None else set()
    limits = {name: getattr(wanted.limits, name) for name in wanted.limits.__struct_fields__}
    terms = {name: _plain(each) for name, each in wanted.subscriptions.items()}
    return await manager.change_user(
        wanted.user_id,
        UserChange(
            name=wanted.name, family=wanted.family, algo_id=wanted.algo_id, broker=wanted.broker,
            enabled=wanted.enabled, limits=limits, subscribe=terms, leave=dict.fromkeys(gone, ""),
        ),
    )  # fmt: skip


def _plain(terms: Terms) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(terms)
    plain["sizing"] = [terms.sizing.method.value, str(terms.sizing.value)]
    return plain


def _changed(user: User, wanted: UserChange) -> User:
    from order.user_change import changed

    return changed(user, wanted, {})


def _stored(settings: Settings) -> list[Exported]:
    try:
        with closing(Reader(settings.home, settings.postgres_url)) as reader:
            users = reader.users()
    except StoreError:
        if settings.postgres_url is None and any(settings.home.glob("*.db")):
            raise
        return []
    return [
        Exported(
            user_id=user.user_id, name=user.name, group=user.group, family=user.family,
            algo_id=user.algo_id, broker=user.broker, enabled=user.enabled, limits=user.limits,
            subscriptions=user.subscriptions,
        )
        for user in users
    ]  # fmt: skip


def _not_live_by_file(wanted: Exported, stored: Exported | None) -> Exported:
    """Return *wanted* on paper where no `--mode live` has been said of them yet: a file turns nobody live."""
    if wanted.broker != BROKER or (stored is not None and stored.broker == BROKER):
        return wanted
    remedy = f"`trading users edit {wanted.user_id} --mode live` makes them live"
    print(f"{wanted.user_id}: comes on paper; {remedy}.")
    return msgspec.structs.replace(wanted, broker="paper")


def _differences(before: Exported | None, after: Exported, books: str) -> list[str]:
    """Return what changes from *before* to *after* in *books* of an environment, a line each."""
    old = _flat(before, books) if before is not None else {}
    new = _flat(after, books)
    found = [f"{after.user_id}: new"] if before is None else []
    for name in sorted({*old, *new}):
        if before is not None and old.get(name) != new.get(name):
            found.append(f"{after.user_id}: {name} {old.get(name, '–')} → {new.get(name, '–')}")
    return found


def _flat(user: Exported, books: str) -> dict[str, str]:
    names = ("name", "group", "family", "algo_id", "enabled")
    plain = {name: str(getattr(user, name)) for name in names}
    plain["mode"] = mode_of(user.broker, books)
    plain |= {name: f"{getattr(user.limits, name)}" for name in user.limits.__struct_fields__}
    return plain | {f"subscription {name}": _told(terms) for name, terms in user.subscriptions.items()}


def _confirm(count: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody is there to confirm.", remedy="Say --yes.")
    print(f"Type '{WORD}' to change {count} users: ", end="", flush=True)
    if sys.stdin.readline().strip() != WORD:
        raise ConfigurationError("Not confirmed; nothing has changed.")


def _show(stored: User, as_json: bool, only: str = "") -> None:
    (user,) = shown_users([stored], _environment(Settings.load()))
    if as_json:
        print(msgspec.json.encode(user.limits if only else user).decode())
        return
    limits = [(name, f"{getattr(user.limits, name)}") for name in user.limits.__struct_fields__]
    rows = [] if only else [
        ("user", user.user_id), ("name", user.name or "–"), ("group", user.group),
        ("family", user.family or "–"), ("algo id", user.algo_id or "–"), ("mode", user.mode),
        ("profile", user.profile or "–"),
        ("enters", "yes" if user.enabled else "no, disabled"),
        *((f"in {name}", _told(terms)) for name, terms in user.subscriptions.items()),
    ]  # fmt: skip
    if not only and not user.subscriptions:
        rows.append(("strategies", "none: `trading users subscribe`"))
    rows += limits
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _told(terms: Terms) -> str:
    said = [size(terms.sizing), terms.product.value, f"{terms.allocation_percent} % of capital"]
    said += [f"trailing {terms.trail_percent} %"] if terms.trail_percent else []
    said += ["short as well"] if terms.allow_short else []
    said += ["LEAVING: no entries"] if terms.leaving else []
    return ", ".join(said)
