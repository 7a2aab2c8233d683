"""How an account at a broker stands, for those who ask and those who answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from order.checks import Check


@dataclass(frozen=True, slots=True)
class AccountState:
    """How one account stands.

    Attributes:
        account: Masked.
        armed: It takes entries.
        ready: The books were read and agree, at the time of asking.
        notes: What is wrong, in words; empty where all is well.
        working: Orders that are not done.
        foreign: Orders in the broker's book that are not ours.
        state: ARMED; EXIT_ONLY: compared and clean, with something open; OFF: everything else.
        others: What others hold and did in this account, one line each.
        compared_us: Wall time of the last comparison with the broker's account; 0 before it.
        cash_paise: What the broker says is available.
        needs_code: Only its owner can begin its session.
        local: Its broker is on this machine: nothing that it does is for real.
        checks: What was looked at for arming; empty where it was not.
    """

    user_id: str
    account: str
    armed: bool
    ready: bool
    working: int = 0
    foreign: int = 0
    notes: list[str] = field(default_factory=list)
    state: str = "OFF"
    others: list[str] = field(default_factory=list)
    compared_us: int = 0
    cash_paise: int = 0
    needs_code: bool = False
    local: bool = False
    checks: list[Check] = field(default_factory=list)
