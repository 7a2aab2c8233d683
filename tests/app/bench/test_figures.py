from __future__ import annotations

import math

import msgspec
import pytest

from app.bench.figures import percentile, single, timing


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0, 4.0], 0.99, 4.0), ([7.0], 0.01, 7.0)],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_timing_meets_its_limit_by_median_and_tail() -> None:
    assert timing("x", [1.0] * 99 + [3.9], 0.5, 1.0, "").met
    assert not timing("x", [1.1] * 100, 0.5, 1.0, "").met, "the median is over"
    assert not timing("x", [1.0] * 90 + [4.1] * 10, 0.5, 1.0, "").met, "the tail is over four medians"


def test_single_knows_which_side_is_good() -> None:
    assert single("cpu", "%", 3.0, 1.0, 3.0, "").met
    assert not single("cpu", "%", 3.1, 1.0, 3.0, "").met
    assert single("rate", "1/s", 200.0, 400.0, 200.0, "", at_least=True).met
    assert not single("rate", "1/s", 199.0, 400.0, 200.0, "", at_least=True).met


def test_figure_as_json_has_the_public_names() -> None:
    line = msgspec.json.decode(msgspec.json.encode(timing("x", [1.0], 0.5, 3.0, "n")))
    assert {"name", "unit", "p50", "p99", "floor", "ratio"} <= set(line)
    assert "value" not in line
    line = msgspec.json.decode(msgspec.json.encode(single("x", "ms", 1.0, 0.5, 3.0, "n")))
    assert {"name", "unit", "value", "floor", "ratio"} <= set(line)
