from __future__ import annotations

from app.bench.gate import gate
from order.rules import rule_names


def test_every_rule_is_measured_and_none_refuses() -> None:
    figure = gate(1)
    assert figure.note.startswith(f"an entry against {len(rule_names())} rules")
    assert figure.p50 is not None
    assert 0 < figure.floor < figure.p50
