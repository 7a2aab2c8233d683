from __future__ import annotations

import struct

import pytest

from sandbox.book import Depth, Level
from sandbox.frames import PATCH, PATCH_AT, Snapshot, encode

SNAPSHOT = Snapshot(
    b"2885", 7, 1_618_209_000_123, 3_000_000_000, 5, 250_100, 12_345, 111.0, 222.0, 250_000, 251_000, 249_000,
    248_000, 1_618_209_000, Depth((Level(250_000, 9, 2), Level(249_995, 8, 1)), (Level(250_010, 4, 3),)),
    272_800, 223_200, 322_400, 190_770,
)  # fmt: skip


@pytest.mark.parametrize(("mode", "size"), [(1, 51), (2, 123), (3, 379), (4, 443)])
def test_frame_has_its_size_mode_exchange_and_padded_token(mode: int, size: int) -> None:
    frame = encode(SNAPSHOT, mode)
    assert (len(frame), frame[0], frame[1]) == (size, mode, 1)
    assert frame[2:27] == b"2885" + b"\0" * 21


def test_shorter_frames_are_the_beginning_of_the_longer_ones() -> None:
    ltp, quote, snap = (encode(SNAPSHOT, mode) for mode in (1, 2, 3))
    assert quote[1:51] == ltp[1:]
    assert snap[1:123] == quote[1:]


def test_fields_stand_where_the_documents_say() -> None:
    frame = encode(SNAPSHOT, 3)
    assert struct.unpack_from("<qqq", frame, 27) == (7, 1_618_209_000_123, 3_000_000_000)  # beyond int32
    assert struct.unpack_from("<qqq", frame, 51) == (5, 250_100, 12_345)
    assert struct.unpack_from("<dd", frame, 75) == (111.0, 222.0)
    assert struct.unpack_from("<qqqq", frame, 91) == (250_000, 251_000, 249_000, 248_000)
    assert struct.unpack_from("<q", frame, 123) == (1_618_209_000,)
    assert struct.unpack_from("<qqqq", frame, 347) == (272_800, 223_200, 322_400, 190_770)
    levels = [struct.unpack_from("<Hqqh", frame, 147 + 20 * number) for number in range(10)]
    assert levels[:3] == [(1, 9, 250_000, 2), (1, 8, 249_995, 1), (1, 0, 0, 0)]
    assert levels[5:7] == [(0, 4, 250_010, 3), (0, 0, 0, 0)]


def test_deep_frame_has_twenty_levels_a_side() -> None:
    frame = encode(SNAPSHOT, 4)
    assert struct.unpack_from("<q", frame, 27) == (1_618_209_000_123,)
    assert struct.unpack_from("<iih", frame, 43) == (9, 250_000, 2)
    assert struct.unpack_from("<iih", frame, 243) == (4, 250_010, 3)
    assert set(frame[253:443]) == {0}


def test_flood_changes_number_time_and_price() -> None:
    frame = bytearray(encode(SNAPSHOT, 3))
    PATCH.pack_into(frame, PATCH_AT, 8, 9, 10)
    assert struct.unpack_from("<qqq", frame, 27) == (8, 9, 10)
    assert frame[51:] == encode(SNAPSHOT, 3)[51:]
