"""What only a rehearsal has: ledger, statements, money, faults, switches, the clock. On loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from aiohttp import web

from sandbox.envelope import encoded
from sandbox.faults import Fault
from sandbox.hub import Hub
from sandbox.market_clock import open_us
from sandbox.state import Payment
from sandbox.statement import statement
from shared.errors import ConfigurationError

FULL_ROWS = 180_000
"""So many made-up derivatives bring the master near the size of the real one."""

FURTHEST_S = 10 * 366 * 86_400.0
"""So far may the clock of the sessions be moved from the wall's."""

MOST_PAID = 1_000_000_000
"""Rupees in one payment."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ConfigurationError)


class _Paid(msgspec.Struct, forbid_unknown_fields=True):
    client_code: str
    rupees: Annotated[int, msgspec.Meta(ge=-MOST_PAID, le=MOST_PAID)]


class _Registered(msgspec.Struct, forbid_unknown_fields=True):
    client_code: str
    address: str


@dataclass(slots=True)
class Admin:
    """Handlers under `/sandbox/`, and the scrip master."""

    hub: Hub

    def add_to(self, app: web.Application) -> None:
        """Register every path."""
        router = app.router
        router.add_get("/sandbox/info", self.info)
        router.add_get("/sandbox/ledger", self.ledger)
        router.add_get("/sandbox/statement", self.statement)
        router.add_post("/sandbox/cash", self.pay)
        router.add_get("/sandbox/address", self.address)
        router.add_post("/sandbox/address", self.register)
        router.add_get("/sandbox/faults", self.faults)
        router.add_post("/sandbox/faults", self.add_fault)
        router.add_delete("/sandbox/faults", self.clear_faults)
        router.add_get("/sandbox/switches", self.switches)
        router.add_post("/sandbox/switches", self.set_switches)
        router.add_post("/sandbox/clock", self.move_clock)
        router.add_post("/sandbox/price", self.lock_price)
        router.add_get("/OpenAPI_File/files/OpenAPIScripMaster.json", self.master)

    async def info(self, _: web.Request) -> web.Response:
        """Tell which market this is and what time it has."""
        hub, now = self.hub, self.hub.now()
        return _json(
            {
                "version": 1,
                "market": hub.market,
                "market_time_us": now.us,
                "session_open_us": open_us(now.day),
                "speed": hub.time.speed,
                "in_session": now.open,
                "day_books": hub.exchange.days.apart,
                "label": hub.label,
            }
        )

    async def ledger(self, request: web.Request) -> web.Response:
        """Return all that was ever accepted, by order and by tag, with net shares of all days and counts."""
        hub = self.hub
        client, tag = request.query.get("client_code"), request.query.get("tag")
        rows = [
            row
            for row in hub.exchange.ledger()
            if client in (None, row["client_code"]) and tag in (None, row["ordertag"])
        ]
        by_tag: dict[str, list[str]] = {}
        for row in rows:
            by_tag.setdefault(row["ordertag"], []).append(row["orderid"])
        by_tag.pop("", None)
        positions = [
            {
                "client_code": account.client,
                "tradingsymbol": (instrument := hub.instruments.get(symbol)).trading_symbol,
                "symboltoken": instrument.token,
                "producttype": product,
                "netqty": net,
            }
            for account in hub.exchange.accounts.values()
            for (symbol, product), net in account.nets.items()
            if client in (None, account.client)
        ]
        counts = {
            "requests": sum(hub.requests.values()),
            "by_endpoint": hub.requests,
            "rate_limited": hub.limits.breaches,
            "faults": hub.faults.hits,
        }
        return _json({"orders": rows, "by_tag": by_tag, "positions": positions, "counts": counts})

    async def statement(self, request: web.Request) -> web.Response:
        """Return a client's account (`?client_code=`): orders with value and charges, sums, shares, money."""
        exchange, client = self.hub.exchange, request.query.get("client_code", "")
        if client not in exchange.accounts:
            return _json({"error": "wanted: ?client_code= of a client"}, 400)
        orders = exchange.orders.get(client, {}).values()
        return _json(statement(exchange.accounts[client], orders))

    async def pay(self, request: web.Request) -> web.Response:
        """Pay rupees into a client's account, or with a minus take them out."""
        accounts = self.hub.exchange.accounts
        try:
            given = msgspec.json.decode(await request.read(), type=_Paid)
        except UNREADABLE as error:
            return _json({"error": f"wanted: client_code, and whole rupees ({error})"}, 400)
        if given.client_code not in accounts:
            return _json({"error": f"there is no client {given.client_code}"}, 400)
        accounts[given.client_code].cash += given.rupees * 100
        self.hub.state.paid(Payment(given.client_code, given.rupees * 100))
        return _json({"available": f"{accounts[given.client_code].available / 100:.2f}"})

    async def address(self, request: web.Request) -> web.Response:
        """Return the address that the request came from."""
        return web.Response(text=request.remote or "")

    async def register(self, request: web.Request) -> web.Response:
        """Register the one address that a client's orders are taken from; empty: as all others'."""
        try:
            given = msgspec.json.decode(await request.read(), type=_Registered)
        except UNREADABLE as error:
            return _json({"error": f"wanted: client_code and address ({error})"}, 400)
        if given.client_code not in self.hub.exchange.accounts:
            return _json({"error": f"there is no client {given.client_code}"}, 400)
        self.hub.registered[given.client_code] = given.address
        return _json(given)

    async def faults(self, _: web.Request) -> web.Response:
        """List the faults at work."""
        return _json({"faults": self.hub.faults.active, "hits": self.hub.faults.hits})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Put a fault to work."""
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
            return _json(self.hub.faults.add(fault))
        except UNREADABLE as error:
            return _json({"error": str(error)}, 400)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Take one fault away (`?id=`), or all."""
        number = request.query.get("id")
        self.hub.faults.clear(int(number) if number and number.isdigit() else None)
        return _json({"faults": self.hub.faults.active})

    async def switches(self, _: web.Request) -> web.Response:
        """Return all switches."""
        return _json(self.hub.switches)

    async def set_switches(self, request: web.Request) -> web.Response:
        """Change switches by name."""
        try:
            self.hub.switches.change(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        except UNREADABLE as error:
            return _json({"error": str(error)}, 400)
        return _json(self.hub.switches)

    async def move_clock(self, request: web.Request) -> web.Response:
        """Move the clock of the sessions, to rehearse midnight."""
        try:
            given = msgspec.json.decode(await request.read(), type=dict[str, float])
            shift_s = self.hub.auth.shift_s + given["advance_s"]
        except (*UNREADABLE, KeyError) as error:
            return _json({"error": f"wanted: advance_s in seconds ({error})"}, 400)
        if not abs(shift_s) <= FURTHEST_S:
            return _json({"error": "wanted: a clock within ten years of the wall's"}, 400)
        self.hub.auth.shift_s = shift_s
        return _json({"shift_s": self.hub.auth.shift_s})

    async def lock_price(self, request: web.Request) -> web.Response:
        """Lock a symbol at a circuit limit, or free it."""
        try:
            given = msgspec.json.decode(await request.read(), type=dict[str, str | None])
            symbol, lock = given["symbol"], given.get("lock")
        except (*UNREADABLE, KeyError):
            symbol, lock = None, None
        if symbol not in self.hub.instruments or lock not in (None, "upper", "lower"):
            return _json({"error": "wanted: a known symbol, and lock upper, lower or null"}, 400)
        if lock is None:
            self.hub.prices.locks.pop(str(symbol), None)
        else:
            self.hub.prices.locks[str(symbol)] = lock
        return _json({"locks": self.hub.prices.locks})

    async def master(self, request: web.Request) -> web.StreamResponse:
        """Stream the scrip master; `?size=full` pads it to the size of the real one."""
        reply = web.StreamResponse()
        reply.content_type = "application/json"
        await reply.prepare(request)
        async for piece in self._rows(full=request.query.get("size") == "full"):
            await reply.write(piece)
        await reply.write_eof()
        return reply

    async def _rows(self, *, full: bool) -> AsyncIterator[bytes]:
        lead = b"["
        for each in self.hub.instruments:
            if not each.token:
                continue
            index = not each.tradable
            row = {
                "token": each.token,
                "symbol": each.trading_symbol,
                "name": each.symbol,
                "expiry": "",
                "strike": "0.000000" if index else "-1.000000",
                "lotsize": str(each.lot),
                "instrumenttype": "AMXIDX" if index else "",
                "exch_seg": each.exchange,
                "tick_size": "0.000000" if index else f"{each.tick_paise:.6f}",
                "freeze_qty": str(each.freeze_quantity or 0),
                "is_cas_enabled": each.closing_auction,
            }
            yield lead + encoded(row)
            lead = b","
        if full:
            for start in range(0, FULL_ROWS, 1_000):
                yield b"".join(lead + _derivative(number) for number in range(start, start + 1_000))
        yield b"]"


def _derivative(number: int) -> bytes:
    return encoded(
        {
            "token": str(200_000 + number),
            "symbol": f"MADEUP26DEC{number:06d}CE",
            "name": "MADEUP",
            "expiry": "31DEC2026",
            "strike": f"{number * 100:.6f}",
            "lotsize": "75",
            "instrumenttype": "OPTIDX",
            "exch_seg": "NFO",
            "tick_size": "5.000000",
            "freeze_qty": "1801",
            "is_cas_enabled": False,
        }
    )


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encoded(body), content_type="application/json")
