from __future__ import annotations

from pathlib import Path

from shared.clock import ManualClock
from tests.sandbox.box import MONDAY_NOON_US, RMS, box


async def test_statement_has_what_was_filled_with_its_charges_and_nothing_else() -> None:
    async with box() as sandbox:
        bought = (await sandbox.place(price="2600.00", ordertag="b", quantity="10")).data["orderid"]
        await sandbox.settled(bought, "complete")
        resting = (await sandbox.place(ordertag="rests")).data["orderid"]
        await sandbox.settled(resting, "open")
        path = "/sandbox/statement?client_code=S0000001"
        found = (await sandbox.send("GET", path)).json
        (row,) = found["orders"]
        ledger = {each["orderid"]: each for each in (await sandbox.ledger())["orders"]}
        assert (row["orderid"], row["ordertag"], row["filledshares"]) == (bought, "b", 10)
        assert float(row["value"]) == round(ledger[bought]["averageprice"] * 10, 2)
        assert (found["bought"], found["sold"]) == (row["value"], "0.00")
        assert found["charges"] == row["charges"]
        assert [(each["symbol"], each["netqty"]) for each in found["shares"]] == [("RELIANCE", 10)]
        other = (await sandbox.send("GET", "/sandbox/statement?client_code=S0000002")).json
        assert (other["orders"], other["charges"], other["available"]) == ([], "0.00", "1000000.00")
        assert (await sandbox.send("GET", "/sandbox/statement")).status == 400


async def test_payment_changes_what_is_available_and_outlives_the_process(tmp_path: Path) -> None:
    path, clock = tmp_path / "state.jsonl", ManualClock(MONDAY_NOON_US)
    async with box(clock=clock, state=path) as sandbox:
        paid = {"client_code": "S0000001", "rupees": -999_000}
        assert (await sandbox.send("POST", "/sandbox/cash", paid)).json == {"available": "1000.00"}
        refused = (await sandbox.place(price="2600.00", quantity="10")).data["orderid"]
        assert "Insufficient Funds" in (await sandbox.settled(refused, "rejected"))["text"]
        for wrong in ({**paid, "client_code": "X"}, {"client_code": "S0000001"}, {**paid, "rupees": "much"}):
            assert (await sandbox.send("POST", "/sandbox/cash", wrong)).status == 400
    for _ in range(2):  # the file is written anew at each start
        async with box(clock=clock, state=path) as sandbox:
            await sandbox.login()
            assert (await sandbox.get(RMS)).data["availablecash"] == "1000.0000"


async def test_position_is_closed_whatever_money_is_left() -> None:
    async with box() as sandbox:
        bought = (await sandbox.place(price="2600.00", quantity="10")).data["orderid"]
        await sandbox.settled(bought, "complete")
        paid = {"client_code": "S0000001", "rupees": -1_000_000}
        assert float((await sandbox.send("POST", "/sandbox/cash", paid)).json["available"]) < 0
        sold = (await sandbox.place(price="2400.00", quantity="10", transactiontype="SELL")).data["orderid"]
        await sandbox.settled(sold, "complete")
