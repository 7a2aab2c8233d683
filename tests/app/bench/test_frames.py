from __future__ import annotations

from app.bench.frames import BARE, TOKENS, fields_of, snap_quotes, ticks_of
from broker.registry import frame_readers
from shared.feed import MarketTick


def test_frames_measured_are_whole_and_later_one_by_one() -> None:
    made = snap_quotes(50)
    assert {len(frame) for frame in made} == {BARE.size} == {379}
    times = [BARE.unpack(frame)[4] for frame in made]
    assert times == sorted(set(times))


def test_every_field_read_is_every_value_in_the_bytes() -> None:
    # Nothing may be left out of what the figure calls "all".
    read = fields_of(frame_readers("angel_one"))
    for frame in snap_quotes(10):
        bare = list(BARE.unpack(frame))
        *head, bids, asks = read(frame)
        values = [*head[:18], *(value for level in (*bids, *asks) for value in level), *head[18:]]
        bare[2] = bare[2].rstrip(b"\0").decode()
        assert values == bare


def test_ticks_measured_are_those_of_known_instruments() -> None:
    read = ticks_of(frame_readers("angel_one"))
    ticks = [read(frame) for frame in snap_quotes(10)]
    assert all(isinstance(tick, MarketTick) for tick in ticks)
    assert {tick.symbol for tick in ticks} == {f"S{token}" for token in TOKENS}
    assert all(tick.bid_paise < tick.ask_paise for tick in ticks)
