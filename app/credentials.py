"""Credentials of the users' accounts at a broker: one sealed file each in the state folder."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from dotenv.parser import parse_stream

from broker.account import Egress
from shared import setting_values as read
from shared.errors import ConfigurationError, StoreError
from shared.secret import Secret, masked_code
from shared.vault import Vault, add_key, keep_first_key, write_private

FOLDER = "credentials"
NAMES = {
    "api_key": "ANGEL_ONE_API_KEY",
    "client_code": "ANGEL_ONE_CLIENT_CODE",
    "pin": "ANGEL_ONE_PASSWORD",
    "totp_secret": "ANGEL_ONE_TOTP_SECRET",
    "source_address": "ANGEL_ONE_SOURCE_ADDRESS",
    "proxy": "ANGEL_ONE_PROXY",
    "registered_address": "ANGEL_ONE_REGISTERED_ADDRESS",
}
"""Fields, and what a file calls them: as `.env` does."""

PIN_DIGITS = 4
TOTP_BITS = 112
"""Fewer is no secret of an authenticator, and the library that makes the codes refuses it."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one account logs in with, and where its traffic leaves; `repr` is masked.

    Attributes:
        user_id: Whose; a file that was copied to another user's name is not taken.
        totp_secret: Empty: its owner types the one-time code.
        source_address, proxy, registered_address: See `broker.base.Egress`.
    """

    user_id: str
    api_key: str
    client_code: str
    pin: str
    totp_secret: str = ""
    source_address: str = ""
    proxy: str = ""
    registered_address: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.user_id}, ***)"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show nothing to rich, either: it would ask for the fields."""
        return []

    @property
    def egress(self) -> Egress:
        """Where the account's traffic leaves."""
        return Egress(self.source_address, self.proxy, self.registered_address)


class CredentialStore:
    """The folder of a state folder that holds them.

    Args:
        home: State folder.
        keys: Fernet keys; None: those of the key file outside the state folder.
    """

    def __init__(self, home: Path, keys: Secret | None) -> None:
        self._home = home
        self._folder = home / FOLDER
        self._keys = keys

    def users(self) -> list[str]:
        """Return who has credentials, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.sealed"))

    def load(self, user_id: str) -> Credentials | None:
        """Return a user's credentials, or None where there are none.

        Raises:
            ConfigurationError: They cannot be read: another key, damaged, or another user's.
        """
        path = self._path(user_id)
        try:
            mode, sealed = path.stat().st_mode, path.read_bytes()
        except FileNotFoundError:
            return None
        if mode & 0o077:
            raise ConfigurationError(f"Others may read {path}.", remedy=f"chmod 600 {path}")
        text = Vault.open(self._keys).unseal(sealed)
        found = None
        if text is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                found = msgspec.json.decode(text, type=Credentials)
        if found is None or found.user_id != user_id:
            raise ConfigurationError(
                f"The credentials of {user_id} in {path} cannot be read with the keys that there are.",
                remedy="Bring back the key (SECRETS_KEY, or ~/.config/trading-backend/secrets.key), or "
                f"`trading users credentials set {user_id}`.",
            )
        return found

    def save(self, credentials: Credentials) -> None:
        """Keep *credentials* in place of what the user had.

        Raises:
            ConfigurationError: Another user has the same account.
            StoreError: They cannot be written.
        """
        for other in self.users():
            known = self.load(other) if other != credentials.user_id else None
            if known is not None and known.client_code.upper() == credentials.client_code.upper():
                raise ConfigurationError(
                    f"{other} has the account {masked_code(known.client_code)} already.",
                    remedy=f"`trading users credentials remove {other}` first: an account is one user's.",
                )
        sealed = Vault.open(self._keys).seal(msgspec.json.encode(credentials))
        path = self._path(credentials.user_id)
        try:
            write_private(path, sealed)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}.") from error

    def remove(self, user_id: str) -> None:
        """Remove a user's credentials and the day's token.

        Raises:
            ConfigurationError: There are none.
        """
        path = self._path(user_id)
        if not path.exists():
            known = ", ".join(self.users()) or "nobody"
            raise ConfigurationError(f"{user_id} has no credentials here.", remedy=f"Who has: {known}.")
        path.unlink()
        (self._home / "tokens" / path.name).unlink(missing_ok=True)

    def rotate(self, *, drop_old: bool) -> int:
        """Encrypt everything anew with a new first key; return how many files.

        With keys from SECRETS_KEY their owner puts the new one first. A crash on the way leaves files that
        the old or the new key opens, and both keys.

        Args:
            drop_old: Forget all keys but the new one.

        Raises:
            ConfigurationError: A file cannot be read; nothing is dropped then.
        """
        if self._keys is None:
            add_key()
        vault, count = Vault.open(self._keys), 0
        for path in (*self._folder.glob("*.sealed"), *(self._home / "tokens").glob("*.sealed")):
            anew = vault.reseal(path.read_bytes())
            if anew is not None:
                write_private(path, anew)
                count += 1
            elif path.parent == self._folder:
                self.load(path.stem)  # says what is wrong
        if drop_old:
            keep_first_key()
        return count

    def _path(self, user_id: str) -> Path:
        return self._folder / f"{user_id}.sealed"


def from_file(user_id: str, file: Path, *, ask_totp: bool) -> Credentials:
    """Read credentials from a file with lines as in `.env`; `-` is standard input.

    Raises:
        ConfigurationError: Others may read the file, or something in it is wrong; never shows a value.
    """
    if str(file) == "-":
        return checked(user_id, dict(_lines(sys.stdin.read(), "standard input")), ask_totp=ask_totp)
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(f"Others may read {file}.", remedy=f"chmod 600 {file}")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{file} cannot be read: {why}.") from None
    return checked(user_id, dict(_lines(text, str(file))), ask_totp=ask_totp)


def checked(user_id: str, given: Mapping[str, str], *, ask_totp: bool) -> Credentials:
    """Return credentials out of *given* fields.

    Args:
        user_id: Whose.
        given: Values by field name; a placeholder counts as not given.
        ask_totp: Keep no TOTP secret.

    Raises:
        ConfigurationError: With every finding, never a value.
    """
    values = {name: value.strip() for name, value in given.items() if not read.is_placeholder(value)}
    needed = ["api_key", "client_code", "pin"]
    if ask_totp:
        values.pop("totp_secret", None)
    else:
        needed.append("totp_secret")
    found = [f"{NAMES[name]} is not given" for name in needed if name not in values]
    for name, problem in (("pin", pin_problem), ("totp_secret", totp_problem)):
        if name in values and (why := problem(values[name])):
            found.append(f"{NAMES[name]} {why}")
    readers = {
        "source_address": read.ipv4_address,
        "registered_address": read.ipv4_address,
        "proxy": read.proxy_address,
    }
    for name, reader in readers.items():
        try:
            values.update({name: reader(values[name])} if name in values else {})
        except ValueError as error:
            found.append(f"{NAMES[name]} {error}".rstrip("."))
    if found:
        remedy = "--ask-totp keeps no secret: its owner types the code." if "totp_secret" in needed else ""
        raise ConfigurationError(f"The credentials of {user_id}: {'; '.join(found)}.", remedy=remedy)
    return msgspec.convert({"user_id": user_id, **values}, Credentials)


def pin_problem(pin: str) -> str:
    """Return what cannot be right with a PIN, or nothing."""
    return "" if pin.isdigit() and len(pin) == PIN_DIGITS else f"is not {PIN_DIGITS} digits"


def totp_problem(secret: str) -> str:
    """Return what cannot be right with the secret of one-time codes, or nothing."""
    text = secret.replace(" ", "").upper()
    if text.isdigit():
        return "is a one-time code, not the secret that makes them"
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return "is not base32 (letters A-Z and digits 2-7)"
    return "" if len(raw) * 8 >= TOTP_BITS else f"is shorter than {TOTP_BITS} bits: a part of it is missing"


def _lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Yield (field, value) of each line; a line itself is never told, it may hold a PIN."""
    fields = {name: field for field, name in NAMES.items()}
    for each in parse_stream(io.StringIO(text)):
        if each.key is None and not each.error:
            continue
        if each.error or each.value is None or each.key is None:
            raise ConfigurationError(f"{where}, line {each.original.line}: is not NAME=value.")
        if each.key.upper() not in fields:
            raise ConfigurationError(
                f"{where}, line {each.original.line}: {each.key[:40]} is no name of a credential.",
                remedy=f"There are {', '.join(fields)}.",
            )
        yield fields[each.key.upper()], each.value
