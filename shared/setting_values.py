"""How each kind of setting is read: text in, typed value out, or the reason and the remedy.

Each reader raises `ValueError` with the rest of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

from shared.secret import Secret

MINIMUM_SIGNAL_KEY_CHARACTERS = 16
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_PLACEHOLDER = re.compile(r"|your[_-].*|<.*>|change[_-]?me|x{3,}|\*{3,}|\.{3}|…", re.IGNORECASE)
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_placeholder(value: str) -> bool:
    """Return whether *value* is a stand-in such as `your_api_key`, `<secret>` or nothing at all."""
    return _PLACEHOLDER.fullmatch(value.strip()) is not None


def yes_or_no(value: object) -> object:
    """Read true/false, yes/no or 1/0 in any case."""
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    if isinstance(value, bool):
        return value
    raise ValueError("is neither yes nor no. Write true (paper trading, the default) or false.")


def secret(value: object) -> Secret:
    """Wrap what must not show."""
    return value if isinstance(value, Secret) else Secret(str(value).strip())


def signal_key(value: object) -> Secret:
    """Read the key that signs what travels on the bus."""
    key = secret(value)
    if len(key.reveal()) < MINIMUM_SIGNAL_KEY_CHARACTERS:
        raise ValueError(
            f"has fewer than {MINIMUM_SIGNAL_KEY_CHARACTERS} characters. Leave it out (a key is made), "
            "or use `python -c 'import secrets; print(secrets.token_hex(32))'`."
        )
    return key


def folder(value: object) -> Path:
    """Read a folder, made absolute so that a later change of folder moves nothing; it need not exist."""
    path = Path(str(value)).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError("is not a folder. Name one; it is made on first use.")
    return path


def strategies_file(value: object) -> Path:
    """Read a file that must exist."""
    path = Path(str(value)).expanduser().absolute()
    if not path.is_file():
        raise ValueError("is not a file. Name a TOML file, or leave it out for the default strategies.")
    return path


def accounts_file(value: object) -> Path:
    """Read a file that must exist."""
    path = Path(str(value)).expanduser().absolute()
    if not path.is_file():
        raise ValueError("is not a file. Name one that holds what `trading sandbox --json` printed.")
    return path


def _address(value: object, schemes: tuple[str, str], plain: str) -> str:
    text = str(value).strip()
    parts = urlsplit(text)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"is not an address that starts with {schemes[0]}:// or {schemes[1]}://.")
    if parts.scheme == plain and parts.hostname not in LOOPBACK:
        raise ValueError(
            f"would send credentials in the clear. {plain}:// is for loopback: use {schemes[0]}://."
        )
    return text


def rest_address(value: object) -> str:
    """Read an https address; http on loopback only."""
    return _address(value, ("https", "http"), "http")


def feed_address(value: object) -> str:
    """Read a wss address; ws on loopback only."""
    return _address(value, ("wss", "ws"), "ws")


def ipv4_address(value: object) -> str:
    """Read an IPv4 address; the broker registers no other kind."""
    text = str(value).strip()
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("is not an IPv4 address such as 203.0.113.7.") from None


def proxy_address(value: object) -> str:
    """Read the address of an HTTP proxy."""
    text = str(value).strip()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not the address of a proxy. Write http://[user:password@]host:port.")
    return text


def secrets_key(value: object) -> Secret:
    """Read one or several Fernet keys, separated by commas; the first encrypts, all decrypt."""
    keys = secret(value)
    for key in keys.reveal().split(","):
        try:
            raw = base64.urlsafe_b64decode(key.strip())
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise ValueError(
                "is not a Fernet key. Leave it out (a key is made), or use `python -c 'from "
                "cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`."
            )
    return keys


POSTGRES_SCHEMES = ("postgresql", "postgres")


def redis_address(value: object) -> str:
    """Read the address of a Redis or Valkey server."""
    text = str(value).strip()
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError(
            "is not the address of a Redis or Valkey server. Write redis://host:6379/0, rediss://… or "
            "unix:///path, or leave it out for the embedded server."
        )
    return text


def database_address(value: object) -> str:
    """Read a database address: PostgreSQL, or a bare `sqlite://` for files in the state folder."""
    text = str(value).strip()
    scheme, _, path = text.partition(":")
    if scheme in POSTGRES_SCHEMES:
        parts = urlsplit(text)
        if not (parts.hostname or "host=" in parts.query) or not parts.path.strip("/"):
            raise ValueError("names no host or no database. Write postgresql://user:password@host:5432/name.")
        return text
    if scheme != "sqlite":
        raise ValueError(
            "names a database that is not supported. Write postgresql://user:password@host:5432/name, or"
            " leave it out: SQLite is built in."
        )
    if path.strip("/"):
        raise ValueError("names a file; the stores lie in TRADING_HOME. Set that, and leave this out.")
    return text


def seed(value: object) -> int:
    """Read a seed, 0 to 2^63 - 1."""
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise ValueError("is not a whole number from 0 to 2^63 - 1.")
    return int(text)


def one_of(*words: str) -> Callable[[object], str]:
    """Return a reader of one of *words*, in any case."""
    by_name = {word.lower(): word for word in words}

    def choose(value: object) -> str:
        chosen = by_name.get(str(value).strip().lower())
        if chosen is None:
            raise ValueError(f"is not one of {', '.join(words)}.")
        return chosen

    return choose


def time_of_day(value: object) -> str:
    """Return `HH:MM` within trading hours, or empty."""
    text = str(value).strip()
    if text and not re.fullmatch(r"(09|1[0-4]):[0-5]\d|15:[0-2]\d", text):
        raise ValueError("is not a time of the trading day such as 15:00.")
    return text


def multiple(value: object) -> Decimal:
    """Return a multiple of capital, above 0 and at most 20."""
    return _between(value, Decimal(20))


def percent(value: object) -> Decimal:
    """Return a share of capital, above 0 and at most 100 percent."""
    return _between(value, Decimal(100))


def silence(value: object) -> int:
    """Return whole seconds from 5 to 600."""
    text = str(value).strip()
    if not (text.isdecimal() and 5 <= int(text) <= 600):
        raise ValueError("must be a whole number of seconds from 5 to 600.")
    return int(text)


def _between(value: object, most: Decimal) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 < number <= most:
        raise ValueError(f"must be a number above 0 and at most {most}.")
    return number
