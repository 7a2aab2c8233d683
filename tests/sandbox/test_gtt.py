from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sandbox.market_clock import SESSION_S
from tests.sandbox.box import SECURE, Box, Reply, box, until

GTT = f"{SECURE}gtt/v1/"
HOLDINGS = f"{SECURE}portfolio/v1/getHolding"
PREFIXED = f"/gtt-service{GTT}"


def rule(**change: object) -> dict[str, object]:
    return {
        "tradingsymbol": "RELIANCE-EQ",
        "symboltoken": "2885",
        "exchange": "NSE",
        "transactiontype": "BUY",
        "producttype": "DELIVERY",
        "price": "2300",
        "qty": 1,
        "triggerprice": "2301",
        "disclosedqty": 0,
        "timeperiod": 365,
        **change,
    }


async def listed(sandbox: Box, *statuses: str, page: int = 1, count: int = 10) -> Any:
    body = {"status": list(statuses), "page": page, "count": count}
    return (await sandbox.post(f"{GTT}ruleList", body)).data


@pytest.mark.parametrize("path", [GTT, PREFIXED])
async def test_rule_is_made_changed_read_and_cancelled_on_both_paths(path: str) -> None:
    async with box() as sandbox:
        number = (await sandbox.post(f"{path}createRule", rule())).data["id"]
        assert (await sandbox.post(f"{path}modifyRule", rule(id=number, price="2299.95"))).data == {
            "id": number
        }
        row = (await sandbox.post(f"{GTT}ruleDetails", {"id": number})).data
        assert (row["price"], row["status"], row["clientid"]) == ("2299.95", "NEW", sandbox.who.client_code)
        assert row["createddate"].endswith("Z")
        assert (await sandbox.post(f"{path}cancelRule", {"id": number})).data == {"id": number}
        assert (await listed(sandbox, "CANCELLED"))[0]["id"] == number
        assert await listed(sandbox, "NEW") is None
        assert (await sandbox.post(f"{path}cancelRule", {"id": number})).code == "AB9013"


async def test_list_comes_in_pages_and_by_status() -> None:
    async with box() as sandbox:
        for _ in range(5):
            await sandbox.post(f"{GTT}createRule", rule())
        await sandbox.post(f"{GTT}cancelRule", {"id": "2"})
        assert [row["id"] for row in await listed(sandbox, "FORALL", count=2, page=2)] == ["3", "4"]
        assert [row["id"] for row in await listed(sandbox, "NEW")] == ["1", "3", "4", "5"]
        assert await listed(sandbox, "FORALL", page=9) is None


async def test_rule_of_another_client_is_not_there() -> None:
    async with box() as sandbox:
        number = (await sandbox.post(f"{GTT}createRule", rule())).data["id"]
        await sandbox.login(1)
        for name in ("ruleDetails", "cancelRule", "modifyRule"):
            assert (await sandbox.post(GTT + name, rule(id=number))).code == "AB9013"
        assert await listed(sandbox, "FORALL") is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": 0}, "AB9006"),
        ({"disclosedqty": 2}, "AB9007"),
        ({"price": "x"}, "AB9008"),
        ({"triggerprice": 0}, "AB9009"),
        ({"symboltoken": "1"}, "AB9011"),
        ({"symboltoken": "99926000", "tradingsymbol": None}, "AB9011"),
        ({"transactiontype": "HOLD"}, "AB9014"),
        ({"producttype": "INTRADAY"}, "AB9015"),
        ({"timeperiod": 366}, "AB9016"),
        ({"timeperiod": "soon"}, "AB9016"),
    ],
)
async def test_wrong_field_has_its_own_code(change: dict[str, object], code: str) -> None:
    async with box() as sandbox:
        assert (await sandbox.post(f"{GTT}createRule", rule(**change))).code == code


@pytest.mark.parametrize(("change", "code"), [
    ({"status": "NEW"}, "AB9004"), ({"page": 0}, "AB1"), ({"page": "x"}, "AB9017"), ({"count": -1}, "AB9018"),
])  # fmt: skip
async def test_list_asked_for_wrongly_is_told_so(change: dict[str, object], code: str) -> None:
    async with box() as sandbox:
        reply: Reply = await sandbox.post(
            f"{GTT}ruleList", {"status": ["NEW"], "page": 1, "count": 1, **change}
        )
        assert reply.code == ("" if change == {"page": 0} else code)


async def test_rule_becomes_an_order_when_the_price_reaches_its_trigger() -> None:
    async with box() as sandbox:
        last = await sandbox.last()
        for trigger, price in ((last * 1.05, last * 1.05), (last * 0.95, last * 0.95)):
            made = rule(
                triggerprice=f"{round(trigger / 0.05) * 0.05:.2f}", price=f"{round(price / 0.05) * 0.05:.2f}"
            )
            await sandbox.post(f"{GTT}createRule", made)
        assert len(await listed(sandbox, "NEW")) == 2
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "upper"})

        async def sent() -> bool:
            return "1" in [row["id"] for row in await listed(sandbox, "SENTTOEXCHANGE") or ()]

        await until(sent)
        (order,) = await sandbox.book()
        assert (order["ordertype"], order["producttype"], order["quantity"]) == ("LIMIT", "DELIVERY", "1")
        assert [row["id"] for row in await listed(sandbox, "NEW")] == ["2"]


async def sent(sandbox: Box, number: str) -> bool:
    """Return whether the exchange has the order of a rule."""
    return number in [row["id"] for row in await listed(sandbox, "SENTTOEXCHANGE") or ()]


def at(price: float) -> str:
    return f"{round(price / 0.05) * 0.05:.2f}"


async def test_rule_waits_over_days_and_goes_out_on_the_day_of_its_price() -> None:
    async with box() as sandbox:
        far = at(await sandbox.last() * 1.05)
        await sandbox.post(f"{GTT}createRule", rule(triggerprice=far, price=far))
        for _ in range(2):
            sandbox.clock.advance(SESSION_S)
            await sandbox.login()
            assert [row["id"] for row in await listed(sandbox, "NEW")] == ["1"]
            assert await sandbox.book() == []
        third = (await sandbox.send("GET", "/sandbox/info")).json["session_open_us"]
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "upper"})
        await until(lambda: sent(sandbox, "1"))
        (order,) = await sandbox.book()
        assert (third, order["orderid"][:6]) == (1_618_371_900_000_000, "210414")


async def test_rule_sells_the_day_after_what_was_bought_for_delivery() -> None:
    async with box() as sandbox:
        dear, cheap = at(await sandbox.last() * 1.05), at(await sandbox.last() * 0.95)
        bought = (await sandbox.place(price=dear, producttype="DELIVERY", quantity="1")).data["orderid"]
        await sandbox.settled(bought, "complete")
        await sandbox.post(f"{GTT}createRule", rule(transactiontype="SELL", triggerprice=cheap, price=cheap))
        sandbox.clock.advance(SESSION_S)
        await sandbox.login()
        assert [row["t1quantity"] for row in (await sandbox.get(HOLDINGS)).data] == [1]
        # A price that is locked at the lower circuit has no buyer: the order rests there.
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "lower"})
        await until(lambda: sent(sandbox, "1"))
        (order,) = await sandbox.book()
        await sandbox.settled(order["orderid"], "open")
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": None})
        await sandbox.settled(order["orderid"], "complete")
        sandbox.clock.advance(SESSION_S)
        await sandbox.login()
        assert (await sandbox.get(HOLDINGS)).data is None


async def test_rule_whose_price_has_left_the_days_band_shows_as_a_rejected_order() -> None:
    async with box() as sandbox:
        last = await sandbox.last()
        body = rule(transactiontype="SELL", triggerprice=at(last * 0.97), price=at(last * 0.7))
        await sandbox.post(f"{GTT}createRule", body)
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "lower"})
        await until(lambda: sent(sandbox, "1"))
        (order,) = await sandbox.book()
        assert (order["status"], order["price"]) == ("rejected", float(body["price"]))  # type: ignore[arg-type]
        assert "Limit Price Protection" in order["text"]


async def test_rule_ends_after_its_time() -> None:
    async with box() as sandbox:
        await sandbox.post(f"{GTT}createRule", rule(timeperiod=1, triggerprice="1", price="1"))
        await sandbox.post(f"{GTT}createRule", rule(triggerprice="1", price="1"))
        sandbox.clock.advance(SESSION_S - 60)  # a day less a minute for the market
        await sandbox.login()
        assert len(await listed(sandbox, "NEW")) == 2
        sandbox.clock.advance(120)

        async def ended() -> bool:
            return [row["id"] for row in await listed(sandbox, "CANCELLED") or ()] == ["1"]

        await until(ended)
        assert [row["id"] for row in await listed(sandbox, "NEW")] == ["2"]


async def test_rule_and_its_order_are_kept_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []
    write = os.write

    def seen(fd: int, raw: bytes) -> int:
        pieces.append(raw)
        return write(fd, raw)

    monkeypatch.setattr(os, "write", seen)
    async with box(state=tmp_path / "state") as sandbox:
        far = at(await sandbox.last() * 1.05)
        await sandbox.post(f"{GTT}createRule", rule(triggerprice=far, price=far))
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "upper"})
        await until(lambda: sent(sandbox, "1"))
    (piece,) = [each for each in pieces if b"SENTTOEXCHANGE" in each]
    assert b'"type":"order"' in piece
    assert piece.endswith(b"\n")


async def test_rule_of_a_client_that_is_gone_waits_for_its_return(tmp_path: Path) -> None:
    async with box(state=tmp_path / "state") as sandbox:
        await sandbox.login(1)
        far = at(await sandbox.last() * 1.05)
        await sandbox.post(f"{GTT}createRule", rule(triggerprice=far, price=far))
    async with box(state=tmp_path / "state", accounts=1) as sandbox:
        assert (await sandbox.post(f"{GTT}createRule", rule(triggerprice=far, price=far))).data == {"id": "2"}
        await sandbox.send("POST", "/sandbox/price", {"symbol": "RELIANCE", "lock": "upper"})
        await until(lambda: sent(sandbox, "2"))
    async with box(state=tmp_path / "state") as sandbox:
        await sandbox.login(1)
        assert [row["id"] for row in await listed(sandbox, "NEW")] == ["1"]
