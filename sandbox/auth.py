"""Sessions of the sandbox: PIN and one-time code really checked, tokens that end at midnight IST."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field

import jwt
import pyotp

from sandbox.switches import Switches
from shared.clock import DAY_US, IST_OFFSET_US, ist_day

SECOND_US = 1_000_000
TOTP_STEPS = 1
"""A code of the step before or after is taken, too."""

ALGORITHM = "HS512"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One client's keys; made up, so they may be printed."""

    api_key: str
    client_code: str
    pin: str
    totp_secret: str


@dataclass(slots=True)
class Session:
    """One login.

    Attributes:
        expires_us: Midnight IST after the login, on the sandbox's clock.
        refresh_expires_us, feed_expires_us: The same, unless a switch gives them a life of their own.
    """

    client: str
    jwt: str
    refresh: str
    feed: str
    expires_us: int
    refresh_expires_us: int
    feed_expires_us: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The session layer says no."""

    code: str
    message: str


INVALID_TOKEN = Denied("AG8001", "Invalid Token")
EXPIRED_TOKEN = Denied("AG8002", "Token Expired")
MISSING_TOKEN = Denied("AG8003", "Token missing")
INVALID_KEY = Denied("AG8004", "Invalid API Key")


@dataclass(slots=True)
class Auth:
    """Who is logged in.

    Attributes:
        shift_s: How far the sandbox's clock is ahead of the wall's; moved to rehearse midnight.
    """

    clients: dict[str, Credentials]
    switches: Switches
    shift_s: float = 0.0
    _key: str = field(default_factory=lambda: secrets.token_hex(64))
    _by_jwt: dict[str, Session] = field(default_factory=dict)
    _by_refresh: dict[str, Session] = field(default_factory=dict)
    _by_feed: dict[str, Session] = field(default_factory=dict)
    _used: set[tuple[str, int]] = field(default_factory=set)

    def login(self, api_key: str, client: str, pin: str, code: str, wall_us: int) -> Session | Denied:
        """Check everything and open a session."""
        known = self.clients.get(client)
        if known is None or not _same(known.pin, pin):
            return Denied("AB1007", "Invalid clientcode or password")
        if not _same(known.api_key, api_key):
            return INVALID_KEY
        now_s = self._now_us(wall_us) // SECOND_US
        step = self._step(known, code, now_s)
        if step is None or ((client, step) in self._used and not self.switches.totp_reuse):
            return Denied("AB1050", "Invalid totp")
        self._used.add((client, step))
        if self.switches.second_login_kills:
            for session in [each for each in self._by_jwt.values() if each.client == client]:
                self._drop(session)
        return self._open(client, wall_us)

    def owner(self, refresh: str) -> str:
        """Return whose refresh token this is, or nothing."""
        session = self._by_refresh.get(refresh)
        return "" if session is None else session.client

    def renew(self, refresh: str, wall_us: int) -> Session | Denied:
        """Exchange a refresh token; all three tokens change."""
        session = self._by_refresh.get(refresh)
        if session is None:
            return Denied("AB8050", "Invalid Refresh Token")
        if session.refresh_expires_us <= self._now_us(wall_us):
            return Denied("AB8051", "Refresh Token Expired")
        self._drop(session)
        return self._open(session.client, wall_us)

    def check(self, authorization: str, wall_us: int) -> Session | Denied:
        """Return the session of an `Authorization` header."""
        token = _bare(authorization)
        if not token:
            return MISSING_TOKEN
        session = self._by_jwt.get(token)
        if session is None:
            return INVALID_TOKEN
        if session.expires_us <= self._now_us(wall_us):
            return EXPIRED_TOKEN
        return session

    def key_fits(self, session: Session, api_key: str) -> bool:
        """Whether *api_key* is the client's."""
        return _same(self.clients[session.client].api_key, api_key)

    def handshake(self, client: str, api_key: str, authorization: str, feed: str, wall_us: int) -> str:
        """Return what of a market feed's handshake is invalid, or nothing; key and jwt may be left out."""
        known = self.clients.get(client)
        if known is None:
            return "Client Code"
        if api_key and not _same(known.api_key, api_key):
            return "API Key"
        now_us = self._now_us(wall_us)
        session = self._by_feed.get(feed)
        token = _bare(authorization)
        if token and not (session is not None and _same(session.jwt, token)):
            named = self._by_jwt.get(token)
            if named is None or named.client != client or named.expires_us <= now_us:
                return "Auth token"
        if session is None or session.client != client or session.feed_expires_us <= now_us:
            return "Feed Token"
        return ""

    def logout(self, session: Session) -> None:
        """End a session."""
        self._drop(session)
        if self.switches.feed_after_logout:
            self._by_feed[session.feed] = session

    def expire(self, client: str) -> None:
        """End all sessions of *client* as if midnight had passed."""
        for session in self._by_jwt.values():
            if session.client == client:
                session.expires_us = session.feed_expires_us = 0

    def _open(self, client: str, wall_us: int) -> Session:
        now_us = self._now_us(wall_us)
        expires_us = (ist_day(now_us) + 1) * DAY_US - IST_OFFSET_US
        claims = {
            "username": client,
            "roles": 0,
            "usertype": "USER",
            "iat": now_us // SECOND_US,
            "exp": expires_us // SECOND_US,
            "jti": secrets.token_hex(8),
        }
        session = Session(
            client,
            jwt.encode(claims, self._key, ALGORITHM),
            jwt.encode({**claims, "token": "REFRESH-TOKEN"}, self._key, ALGORITHM),
            jwt.encode({**claims, "token": "FEED-TOKEN"}, self._key, ALGORITHM),
            expires_us,
            self._end_us(now_us, self.switches.refresh_life_h, expires_us),
            self._end_us(now_us, self.switches.feed_life_h, expires_us),
        )
        self._by_jwt[session.jwt] = self._by_refresh[session.refresh] = session
        self._by_feed[session.feed] = session
        return session

    def _end_us(self, now_us: int, life_h: float, midnight_us: int) -> int:
        return now_us + round(life_h * 3600 * SECOND_US) if life_h else midnight_us

    def _drop(self, session: Session) -> None:
        self._by_jwt.pop(session.jwt, None)
        self._by_refresh.pop(session.refresh, None)
        self._by_feed.pop(session.feed, None)

    def _now_us(self, wall_us: int) -> int:
        return wall_us + round(self.shift_s * SECOND_US)

    def _step(self, known: Credentials, code: str, now_s: int) -> int | None:
        totp = pyotp.TOTP(known.totp_secret)
        step = now_s // totp.interval
        for near in range(step - TOTP_STEPS, step + TOTP_STEPS + 1):
            if _same(totp.generate_otp(near), code):
                return near
        return None


def make_credentials(number: int, seed: int) -> Credentials:
    """Return the made-up keys of client *number*, the same for the same seed."""
    draw = random.Random(f"credentials/{seed}/{number}")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return Credentials(
        "".join(draw.choices(letters.lower() + letters + "0123456789", k=8)),
        f"S{number:07d}",
        f"{draw.randrange(1_000, 10_000)}",
        "".join(draw.choices(letters + "234567", k=32)),
    )


def _bare(authorization: str) -> str:
    return authorization.removeprefix("Bearer ").strip()


def _same(mine: str, given: str) -> bool:
    # Headers that are not UTF-8 come with lone surrogates.
    return secrets.compare_digest(mine.encode(), given.encode("utf-8", "replace"))
