"""What is remembered of orders at a broker, beside what every order has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from order.cover import Cover
from order.fingerprint import Fingerprint

if TYPE_CHECKING:
    from broker.base import VenueOrder
    from order.amend import Amendment
    from order.orders import Order
    from order.reconcile import Finding, Reconciliation
    from shared.models import Quote


class Wish(NamedTuple):
    """How its owner wants a direct order to be: total shares, limit, trigger (0: none)."""

    quantity: int
    price_paise: int
    trigger_paise: int


@dataclass(slots=True)
class Wire:
    """What is known of an order at a broker; an order on paper has none.

    Attributes:
        queued: It waits for its turn; its shares are reserved.
        sent_us: Wall time of the claim, just before the send; 0 before it.
        venue_order_id: The broker's; empty until known.
        limit_paise: The limit that we want now; `seen_paise` the one that the broker's book shows.
        first_paise: The limit with which it was sent; 0 after a restart.
        arrival_paise: The touch when it was sent; `anchor_paise` the touch that an exit follows.
        anchored_us, changed_us: Wall time of the last anchor and of the last modify or cancel.
        cancel: It shall be cancelled.
        not_before_us: Wall time before which a send that did not leave us, or was refused, is not repeated.
        failures: Such sends in a row.
        held: Why the last send did not leave us.
        absent_reads: Good readings of the books that did not show it, while its fate is unknown.
        absences: Earlier attempts of this exit that were found absent.
        alarmed_us: Wall time of the last alarm about it.
        fills: Shares booked of each fill, by the broker's id.
        lost_us, settled_us: Wall time at which its answer was lost, and at which its fate was known.
        changed_reads: Good readings in which trades or position had moved, while an exit's fate is unknown.
        amend: The request about it that is not settled.
        amended_us: Wall time at which the broker refused a request: a reading comes before the next one.
        read_us: Wall time at which the latest reading that shows it was asked for.
        wish: What its owner wants of it and the books do not show yet.
        refusal: Why the broker refused the last wish.
        want_quantity: Total that it shall have; 0: what it has.
        modified: A modify of it was sent by this process.
        blind: It was sent without a fresh price: the first one that comes is where it began.
        stuck_us: Wall time of the first send of this exit, under whatever tag; 0 before it.
        chased_us: Wall time since which a stop that became an exit follows the price.
        converted: The books have shown it as a LIMIT.
        seen_quantity, seen_trigger_paise: As the books show them; 0 before the first reading.
    """

    queued: bool = False
    sent_us: int = 0
    venue_order_id: str = ""
    limit_paise: int = 0
    seen_paise: int = 0
    first_paise: int = 0
    arrival_paise: int = 0
    anchor_paise: int = 0
    anchored_us: int = 0
    changed_us: int = 0
    cancel: bool = False
    not_before_us: int = 0
    failures: int = 0
    held: str = ""
    absent_reads: int = 0
    absences: int = 0
    alarmed_us: int = 0
    fills: dict[str, int] = field(default_factory=dict)
    lost_us: int = 0
    settled_us: int = 0
    changed_reads: int = 0
    amend: Amendment | None = None
    amended_us: int = 0
    read_us: int = 0
    seen_quantity: int = 0
    seen_trigger_paise: int = 0
    want_quantity: int = 0
    wish: Wish | None = None
    refusal: str = ""
    modified: bool = False
    blind: bool = False
    stuck_us: int = 0
    chased_us: int = 0
    converted: bool = False


@dataclass(slots=True)
class Line:
    """What is remembered of one user's orders at a broker; the store has what must outlast us.

    Attributes:
        sent_before: Wall times of the order calls of an earlier process, and whether entries.
        orders: By tag: those at work and those that ended this day, for late news.
        ended: Tags that ended before this process began.
        known_ids: The broker's ids of `day` (India, days since the epoch): answers and readings, stored.
        foreign: Orders in the last reading that are not ours.
        doubled: Tags that more than one order carried; stored, until a human has seen to it.
        attempts: Highest attempt so far, by signal, leg and slice.
        asked_us, rows: The latest reading of the books.
        nets: The broker's net shares by symbol and product when they were read last; None before.
        findings, reconciled: Of the latest comparison with the broker's account.
        compared: The latest comparison, also of an earlier process.
        closing: Symbols and products of which others' orders have closed ours, by one comparison.
        told: Differences that an alarm was raised for.
        uncovered: Symbols and products in which the broker's position is less than ours.
        booked: Shares of others' orders that our books have as closes, by the broker's id.
        owned: Shares of others' orders that were seen beside ours, by the broker's id.
        paused: Days on which strategies rest, by `strategy:symbol` numbers.
        final_day: The last day whose final books were compared.
        misread_day: The day on which the broker took the quantity of a modify for something else.
        blind: Symbols of exits at the broker that have no fresh price.
        prices: The last prices that the account's own connection told, by symbol.
        cover: What the account shows beside our books.
        armed_with: The strategies as they were when the account was last armed, by id.
    """

    sent_before: list[tuple[int, bool]] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    known_ids: set[str] = field(default_factory=set)
    day: int = 0
    foreign: int = 0
    doubled: set[str] = field(default_factory=set)
    attempts: dict[tuple[int, int, int], int] = field(default_factory=dict)
    asked_us: int = 0
    rows: tuple[VenueOrder, ...] = ()
    nets: dict[tuple[str, str], int] | None = None
    findings: tuple[Finding, ...] = ()
    reconciled: Reconciliation | None = None
    compared: Reconciliation | None = None
    closing: set[tuple[str, str]] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    uncovered: set[tuple[str, str]] = field(default_factory=set)
    booked: dict[str, int] = field(default_factory=dict)
    owned: dict[str, int] = field(default_factory=dict)
    paused: dict[str, int] = field(default_factory=dict)
    final_day: int = 0
    misread_day: int = 0
    blind: set[str] = field(default_factory=set)
    prices: dict[str, Quote] = field(default_factory=dict)
    cover: Cover = field(default_factory=Cover)
    armed_with: dict[str, Fingerprint] = field(default_factory=dict)
