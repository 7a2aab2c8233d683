from __future__ import annotations

from pathlib import Path

from app.marks import save_marks, stored_marks
from shared.models import Quote
from shared.quotes import QuoteBoard
from strategy.outbox import Outbox


async def test_marks_of_a_market_are_found_by_another_process(tmp_path: Path) -> None:
    board = QuoteBoard("sim")
    board.update([Quote("TCS", 315_000, 1), Quote("INFY", 134_205, 1)])
    outbox = await Outbox.open(tmp_path, "paper")
    await save_marks(outbox, board)
    assert stored_marks(tmp_path, "sim") == {"TCS": 315_000, "INFY": 134_205}
    assert stored_marks(tmp_path, "replay-0") == {}
    await outbox.close()


def test_marks_without_a_store_or_a_market_are_none(tmp_path: Path) -> None:
    assert stored_marks(tmp_path, "sim") == {}
    assert stored_marks(tmp_path, None) == {}
