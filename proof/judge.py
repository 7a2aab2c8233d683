"""What a proof asks at the end: the sandbox's own ledger against our books. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

UNDONE = frozenset({"NEW", "SENDING", "UNKNOWN", "ACCEPTED", "PARTIALLY_FILLED", "REVIEW"})

Shares = dict[tuple[str, str], int]
"""Net shares by client code and symbol; what is flat is left out."""


@dataclass
class Verdict:
    """What was found.

    Attributes:
        lost, duplicate, unexplained: Must be 0.
        beyond_repair: Something was found that no waiting can mend.
        findings: One line each for whatever is not 0.
    """

    signals: int = 0
    intents: int = 0
    orders: int = 0
    lost: int = 0
    duplicate: int = 0
    unexplained: int = 0
    pending: int = 0
    beyond_repair: bool = False
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether all is as promised."""
        return not (self.lost or self.duplicate or self.unexplained or self.pending or self.findings)


def judge(
    verified: Mapping[str, Any],
    ledger: Iterable[Mapping[str, Any]],
    ours: Iterable[Mapping[str, Any]],
    positions: Iterable[Mapping[str, Any]],
    clients: Mapping[str, str],
) -> Verdict:
    """Return the verdict on one run that has come to rest.

    Args:
        verified: What `trading verify --json` says.
        ledger: All orders that the sandbox accepted.
        ours: All orders of our store.
        positions: Our books, by user and symbol.
        clients: Client code by user.
    """
    found = Verdict(
        signals=verified["signals"],
        intents=verified["intents"],
        lost=verified["lost"],
        duplicate=verified["duplicate"],
        unexplained=verified["unexplained"],
        pending=verified["pending"],
        findings=list(verified["findings"]),
    )
    if verified["over_exit"]:
        # No fault of a proof delays an order for so long that an exit may be tried anew before it shows.
        found.unexplained += verified["over_exit"]
        found.findings.append(f"{verified['over_exit']} exits went beyond their position")
    accepted = list(ledger)
    found.orders = len(accepted)
    orders = list(ours)
    _tags(found, accepted, {order["order_id"] for order in orders})
    _exits(found, orders)
    theirs = _shares(
        (order["client_code"], _symbol(order), _signed(order)) for order in accepted
    )
    own = _shares(
        (clients[row["user_id"]], row["symbol"], row["quantity"])
        for row in positions
        if row["user_id"] in clients
    )
    for key in sorted({*theirs, *own}):
        at_sandbox, here = theirs.get(key, 0), own.get(key, 0)
        if at_sandbox != here:
            found.unexplained += 1
            found.findings.append(f"{key[0]} {key[1]}: {at_sandbox} shares at the sandbox, {here} here")
        if at_sandbox < 0:
            found.beyond_repair = True
            found.unexplained += 1
            found.findings.append(f"{key[0]} {key[1]}: short by {-at_sandbox}, and nobody may be short")
    found.beyond_repair |= bool(found.lost or found.duplicate or verified["over_exit"])
    return found


def _tags(found: Verdict, accepted: Iterable[Mapping[str, Any]], known: set[str]) -> None:
    times = Counter((order["client_code"], order["ordertag"]) for order in accepted)
    for (client, tag), count in times.items():
        if count > 1:
            found.duplicate += count - 1
            found.findings.append(f"{client}: {count} orders at the sandbox carry the tag {tag}")
        if tag not in known:
            found.unexplained += 1
            found.findings.append(f"{client}: order {tag or 'without a tag'} at the sandbox is none of ours")


def _exits(found: Verdict, ours: Iterable[Mapping[str, Any]]) -> None:
    """An exit may wait for an order before it whose end is open, and for nothing else."""
    undone = [order for order in ours if order["state"] in UNDONE]
    at_broker = {(each["user_id"], each["symbol"]) for each in undone if each["state"] != "NEW"}
    for order in undone:
        if order["purpose"] == "EXIT" and (order["user_id"], order["symbol"]) not in at_broker:
            found.unexplained += 1
            found.findings.append(f"exit {order['order_id']} of {order['symbol']} is not done")
        if order["state"] == "SENDING":
            found.unexplained += 1
            found.findings.append(f"order {order['order_id']} was claimed and has no end")


def _symbol(order: Mapping[str, Any]) -> str:
    return str(order["tradingsymbol"]).partition("-")[0]


def _signed(order: Mapping[str, Any]) -> int:
    return int(order["filledshares"]) * (1 if order["transactiontype"] == "BUY" else -1)


def _shares(rows: Iterable[tuple[str, str, int]]) -> Shares:
    net: Shares = defaultdict(int)
    for client, symbol, quantity in rows:
        net[client, symbol] += quantity
    return {key: quantity for key, quantity in net.items() if quantity}
